SELECT toString(session_id) AS session_id, started_at, ended_at, updated_at, duration_ms,
        toString(status) AS status, CAST(close_reason, 'Nullable(String)') AS close_reason,
        if(match(ifNull(CAST(error_code, 'Nullable(String)'), ''), '^[=+\\-@\t\r\n＝＋－＠]'), concat('''', CAST(error_code, 'Nullable(String)')), CAST(error_code, 'Nullable(String)')) AS error_code,
        if(match(ifNull(user, ''), '^[=+\\-@\t\r\n＝＋－＠]'), concat('''', user), user) AS user,
        if(toString(source_ip) LIKE '::ffff:%.%', substring(toString(source_ip), 8), toString(source_ip)) AS source_ip, source_port,
        if(match(ifNull(dest_host, ''), '^[=+\\-@\t\r\n＝＋－＠]'), concat('''', dest_host), dest_host) AS dest_host,
        if(toString(dest_ip) LIKE '::ffff:%.%', substring(toString(dest_ip), 8), toString(dest_ip)) AS dest_ip, dest_port,
        toString(protocol) AS protocol, toString(command) AS command,
        toString(auth_method) AS auth_method, toString(acl_decision) AS acl_decision,
        if(match(ifNull(CAST(acl_rule_matched, 'Nullable(String)'), ''), '^[=+\\-@\t\r\n＝＋－＠]'), concat('''', CAST(acl_rule_matched, 'Nullable(String)')), CAST(acl_rule_matched, 'Nullable(String)')) AS acl_rule_matched,
        connect_ms, bytes_sent, bytes_received, packets_sent, packets_received,
        if(match(ifNull(toString(proxy_id), ''), '^[=+\\-@\t\r\n＝＋－＠]'), concat('''', toString(proxy_id)), toString(proxy_id)) AS proxy_id
      FROM sessions FINAL
      WHERE (true)
      ORDER BY started_at DESC, session_id DESC
