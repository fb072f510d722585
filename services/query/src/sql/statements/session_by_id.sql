SELECT session_id, started_at, ended_at, updated_at, duration_ms, status, close_reason, error_code, user, source_ip, source_port, dest_host, dest_ip, dest_port, egress_ip, egress_port, protocol, command, auth_method, acl_decision, acl_rule_matched, connect_ms, bytes_sent, bytes_received, packets_sent, packets_received, proxy_id
      FROM sessions FINAL
      PREWHERE started_at IN {starts:Array(DateTime64(3, 'UTC'))} AND session_id IN {ids:Array(UUID)}
