SELECT s.*, r.recent_sent AS recent_sent, r.recent_received AS recent_received
      FROM (
        SELECT session_id, started_at, ended_at, updated_at, duration_ms, status, close_reason, error_code, user, source_ip, source_port, dest_host, dest_ip, dest_port, egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, connect_ms, bytes_sent, bytes_received, packets_sent, packets_received, proxy_id FROM sessions FINAL
        WHERE status = 'active' AND (started_at, session_id) IN (SELECT started_at, session_id FROM sessions FINAL
          WHERE (status = 'active' AND started_at >= fromUnixTimestamp64Milli({long_before:Int64}, 'UTC') AND (started_at, session_id) IN (SELECT started_at, session_id FROM sessions WHERE status = 'active' AND started_at >= fromUnixTimestamp64Milli({long_before:Int64}, 'UTC'))) AND ((true))
          ORDER BY started_at DESC, toString(session_id) DESC
          LIMIT {limit:UInt32})
    UNION ALL
    SELECT session_id, started_at, ended_at, updated_at, duration_ms, status, close_reason, error_code, user, source_ip, source_port, dest_host, dest_ip, dest_port, egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, connect_ms, bytes_sent, bytes_received, packets_sent, packets_received, proxy_id FROM long_sessions FINAL
        WHERE status = 'active' AND (started_at, session_id) IN (SELECT started_at, session_id FROM long_sessions FINAL
          WHERE (status = 'active' AND started_at < fromUnixTimestamp64Milli({long_before:Int64}, 'UTC') AND (started_at, session_id) IN (SELECT started_at, session_id FROM long_sessions WHERE status = 'active' AND started_at < fromUnixTimestamp64Milli({long_before:Int64}, 'UTC'))) AND ((true))
          ORDER BY started_at DESC, toString(session_id) DESC
          LIMIT {limit:UInt32})
      ) AS s
      LEFT JOIN (
  SELECT session_id, sum(bytes_sent) AS recent_sent, sum(bytes_received) AS recent_received
  FROM session_traffic_1m FINAL
  WHERE bucket >= toDateTime({since_s:UInt32}, 'UTC')
  GROUP BY session_id) AS r ON r.session_id = s.session_id
      ORDER BY s.started_at DESC, toString(s.session_id) DESC
      LIMIT {limit:UInt32}
