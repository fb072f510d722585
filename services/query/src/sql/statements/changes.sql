SELECT dimension, key, toUInt8(grouping(key)) AS is_total, sum(now_value) AS current,
        sum(before_value) AS previous
      FROM (
        SELECT k.1 AS dimension, k.2 AS key, toInt64(bytes_sent + bytes_received) AS now_value, toInt64(0) AS before_value
        FROM (SELECT k, s_sessions_started AS sessions_started, s_sessions_closed AS sessions_closed, s_sessions_failed AS sessions_failed, s_sessions_rejected AS sessions_rejected, s_bytes_sent AS bytes_sent, s_bytes_received AS bytes_received, s_packets_sent AS packets_sent, s_packets_received AS packets_received, s_duration_ms AS duration_ms FROM (SELECT arrayJoin([('source', if(toString(source_ip) LIKE '::ffff:%.%', substring(toString(source_ip), 8), toString(source_ip))), ('proxy', toString(proxy_id))]) AS k, toInt64(0) AS slot, toUInt64(0) AS s_sessions_started, toUInt64(0) AS s_sessions_closed, toUInt64(0) AS s_sessions_failed, toUInt64(0) AS s_sessions_rejected, sum(bytes_sent) AS s_bytes_sent, sum(bytes_received) AS s_bytes_received, sum(packets_sent) AS s_packets_sent, sum(packets_received) AS s_packets_received, toUInt64(0) AS s_duration_ms
      FROM session_traffic_1m FINAL
      PREWHERE ((bucket >= toDateTime({m0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({m0_to_s:UInt32}, 'UTC'))) AND (true) AND (1)
      GROUP BY k, slot))
        UNION ALL
        SELECT k.1 AS dimension, k.2 AS key, toInt64(0), toInt64(bytes_sent + bytes_received)
        FROM (SELECT k, s_sessions_started AS sessions_started, s_sessions_closed AS sessions_closed, s_sessions_failed AS sessions_failed, s_sessions_rejected AS sessions_rejected, s_bytes_sent AS bytes_sent, s_bytes_received AS bytes_received, s_packets_sent AS packets_sent, s_packets_received AS packets_received, s_duration_ms AS duration_ms FROM (SELECT arrayJoin([('source', if(toString(source_ip) LIKE '::ffff:%.%', substring(toString(source_ip), 8), toString(source_ip))), ('proxy', toString(proxy_id))]) AS k, toInt64(0) AS slot, toUInt64(0) AS s_sessions_started, toUInt64(0) AS s_sessions_closed, toUInt64(0) AS s_sessions_failed, toUInt64(0) AS s_sessions_rejected, sum(bytes_sent) AS s_bytes_sent, sum(bytes_received) AS s_bytes_received, sum(packets_sent) AS s_packets_sent, sum(packets_received) AS s_packets_received, toUInt64(0) AS s_duration_ms
      FROM session_traffic_1m FINAL
      PREWHERE ((bucket >= toDateTime({p_m0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({p_m0_to_s:UInt32}, 'UTC'))) AND (true) AND (1)
      GROUP BY k, slot))
      )
      GROUP BY dimension, key WITH ROLLUP
      HAVING grouping(dimension) = 0 AND (is_total = 1 OR current != previous)
      ORDER BY dimension, is_total DESC, abs(current - previous) DESC,
        key ASC
      LIMIT {explain_limit:UInt32} BY dimension
