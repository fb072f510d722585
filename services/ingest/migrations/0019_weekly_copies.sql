-- The copies by user and by destination in partitions of a week, so that what has expired is dropped as whole
-- parts. In partitions of a month, parts were rewritten row by row, each time with all that had not expired.
--
-- A table that is replaced is empty at first, and gets what is inserted from then on; then it gets all rows
-- that `sessions` has. So nothing is lost if ingest runs meanwhile, and doing it twice changes nothing. Until
-- the second statement is done, pages of one user or destination lack older sessions.
CREATE OR REPLACE TABLE ${table:sessions_by_user} AS ${table:sessions_by_destination}
ENGINE = ${engine:ReplacingMergeTree(version)}
PARTITION BY toMonday(started_at)
ORDER BY (user, started_at, session_id)
SETTINGS index_granularity = 1024, min_compress_block_size = 16384, max_compress_block_size = 65536,
    min_bytes_for_wide_part = 1099511627776
COMMENT 'Every session, by user; the same rows as sessions, inserted with them';

INSERT INTO ${rows:sessions_by_user} (
    session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port,
    egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, error_code, connect_ms, assumed, updated_at, ended_at,
    duration_ms, version
)
SELECT session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port,
    egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, error_code, connect_ms, assumed, updated_at, ended_at,
    duration_ms, version
FROM ${rows:sessions};

CREATE OR REPLACE TABLE ${table:sessions_by_destination} AS ${table:sessions_by_user}
ENGINE = ${engine:ReplacingMergeTree(version)}
PARTITION BY toMonday(started_at)
ORDER BY (dest_host, started_at, session_id)
SETTINGS index_granularity = 1024, min_compress_block_size = 16384, max_compress_block_size = 65536,
    min_bytes_for_wide_part = 1099511627776
COMMENT 'Every session, by destination; the same rows as sessions, inserted with them';

INSERT INTO ${rows:sessions_by_destination} (
    session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port,
    egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, error_code, connect_ms, assumed, updated_at, ended_at,
    duration_ms, version
)
SELECT session_id, seq, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_ip, dest_port,
    egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, bytes_sent, bytes_received,
    packets_sent, packets_received, status, close_reason, error_code, connect_ms, assumed, updated_at, ended_at,
    duration_ms, version
FROM ${rows:sessions};
