-- A session is long from an age of ten minutes on, where it was an hour: the rows of the ages between. Of the last
-- hour, questions for open sessions had to look through all that began in it. See docs/adr/0046.
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
WHERE updated_at >= started_at + toIntervalMinute(10) AND updated_at < started_at + toIntervalHour(1);

ALTER TABLE ${table:long_sessions}
    MODIFY COMMENT 'Sessions from an age of ten minutes on; the same rows as sessions, inserted with them';
