-- What lookups read. See docs/adr/0045.
--
-- Ends of sessions get the columns that lookups ask for. Rows from before, and rows of a former version that
-- still runs, have 0 as egress_port: their sessions are looked up by key. Then all ends of other hours are
-- inserted again, with these columns, and replace the others. A row counts as it is under the same conditions
-- as before: where session_ends names the session, sessions decides.
ALTER TABLE ${table:ended_sessions}
    ADD COLUMN IF NOT EXISTS dest_ip     Nullable(IPv6)             COMMENT 'address connected to, null if none; IPv4 is mapped'                                                   CODEC(ZSTD(1))      AFTER dest_host,
    ADD COLUMN IF NOT EXISTS egress_ip   Nullable(IPv6)             COMMENT 'local address from which the proxy reached the destination, null if not connected'                     CODEC(ZSTD(1))      AFTER dest_port,
    ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) DEFAULT 0 COMMENT 'local port from which the proxy reached the destination, null if not connected; 0: a row of a former version' CODEC(ZSTD(1))      AFTER egress_ip,
    ADD COLUMN IF NOT EXISTS connect_ms  Nullable(UInt64)           COMMENT 'time to connect in milliseconds, null if not connected'                                               CODEC(T64, ZSTD(1)) AFTER status;

${facade:ended_sessions ADD COLUMN IF NOT EXISTS dest_ip Nullable(IPv6) AFTER dest_host, ADD COLUMN IF NOT EXISTS egress_ip Nullable(IPv6) AFTER dest_port, ADD COLUMN IF NOT EXISTS egress_port Nullable(UInt16) DEFAULT 0 AFTER egress_ip, ADD COLUMN IF NOT EXISTS connect_ms Nullable(UInt64) AFTER status};

INSERT INTO ${rows:ended_sessions} (
    ended_at, started_at, session_id, user, dest_host, dest_ip, dest_port, egress_ip, egress_port, source_ip, protocol,
    proxy_id, acl_rule_matched, close_reason, status, connect_ms, bytes_sent, bytes_received, packets_sent,
    packets_received, duration_ms, version
)
SELECT assumeNotNull(ended_at), started_at, session_id, user, dest_host, dest_ip, dest_port, egress_ip, egress_port, source_ip, protocol,
    proxy_id, acl_rule_matched, close_reason, status, connect_ms, bytes_sent, bytes_received, packets_sent,
    packets_received, duration_ms, version
FROM ${rows:sessions}
WHERE ended_at IS NOT NULL AND NOT assumed AND toStartOfHour(assumeNotNull(ended_at)) != toStartOfHour(started_at);

-- When sessions of an address began. Sessions are ordered by start, and by start they are then found. A bloom
-- filter per granule would have to be read for every granule of 30 days.
--
-- The columns of a projection have no codecs of their own. A table that replaces rows makes the projection of
-- merged parts anew.
ALTER TABLE ${table:sessions}
    MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild', default_compression_codec = 'ZSTD(1)';

ALTER TABLE ${table:sessions}
    ADD PROJECTION IF NOT EXISTS by_destination (SELECT dest_ip, started_at, dest_port ORDER BY dest_ip, started_at);

ALTER TABLE ${table:sessions}
    ADD PROJECTION IF NOT EXISTS by_egress (SELECT egress_port, egress_ip, started_at ORDER BY egress_port, egress_ip, started_at);

-- Open sessions: a set of states of every four granules cost more to look through than the column itself. The
-- fine index is read only where the coarse one, which comes first, has found something. Nothing asks for the
-- minutes of ends any more.
ALTER TABLE ${table:sessions}
    ADD INDEX IF NOT EXISTS open_coarse status = 'active' TYPE minmax GRANULARITY 32,
    ADD INDEX IF NOT EXISTS open_fine   status = 'active' TYPE minmax GRANULARITY 4,
    DROP INDEX IF EXISTS status_set,
    DROP INDEX IF EXISTS ended_minutes;

ALTER TABLE ${table:sessions} MATERIALIZE INDEX open_coarse;

ALTER TABLE ${table:sessions} MATERIALIZE INDEX open_fine;

ALTER TABLE ${table:sessions} MATERIALIZE PROJECTION by_destination;

ALTER TABLE ${table:sessions} MATERIALIZE PROJECTION by_egress;
