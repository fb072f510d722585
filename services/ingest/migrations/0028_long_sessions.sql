-- The rows of sessions that are at least an hour old, by the time of the row's event: few, and all that have
-- been open for long are among them. Each is read by itself, so granules are small. In `sessions` each of them
-- stands in a part and a granule of its own, and whoever asks for open sessions has to look for them in all that
-- is kept. See docs/adr/0046.
CREATE TABLE IF NOT EXISTS ${table:long_sessions} AS ${table:sessions_by_user}
ENGINE = ${engine:ReplacingMergeTree(version)}
PARTITION BY toYYYYMM(started_at)
ORDER BY (started_at, session_id)
SETTINGS index_granularity = 128, min_compress_block_size = 16384, max_compress_block_size = 65536,
    min_bytes_for_wide_part = 1099511627776
COMMENT 'Sessions from an age of one hour on; the same rows as sessions, inserted with them';

${distributed:long_sessions:cityHash64(session_id)};

ALTER TABLE ${table:long_sessions}
    ADD INDEX IF NOT EXISTS open_fine status = 'active' TYPE minmax GRANULARITY 1;

INSERT INTO ${rows:long_sessions} (
    session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port,
    egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, error_code, connect_ms, assumed, updated_at, ended_at,
    duration_ms, version
)
SELECT session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port,
    egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, error_code, connect_ms, assumed, updated_at, ended_at,
    duration_ms, version
FROM ${rows:sessions}
WHERE updated_at >= started_at + toIntervalHour(1);
