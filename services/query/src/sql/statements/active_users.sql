SELECT s.user AS user, toUInt8(grouping(s.user)) AS is_total, count() AS sessions,
        sum(s.bytes_sent) AS bytes_sent, sum(s.bytes_received) AS bytes_received,
        sum(r.recent_sent) AS recent_sent, sum(r.recent_received) AS recent_received,
        min(s.started_at) AS first_started_at
      FROM (
        SELECT session_id, started_at, user, bytes_sent, bytes_received FROM sessions FINAL WHERE (status = 'active' AND started_at >= fromUnixTimestamp64Milli({long_before:Int64}, 'UTC') AND (started_at, session_id) IN (SELECT started_at, session_id FROM sessions WHERE status = 'active' AND started_at >= fromUnixTimestamp64Milli({long_before:Int64}, 'UTC'))) AND (true)
    UNION ALL
    SELECT session_id, started_at, user, bytes_sent, bytes_received FROM long_sessions FINAL WHERE (status = 'active' AND started_at < fromUnixTimestamp64Milli({long_before:Int64}, 'UTC') AND (started_at, session_id) IN (SELECT started_at, session_id FROM long_sessions WHERE status = 'active' AND started_at < fromUnixTimestamp64Milli({long_before:Int64}, 'UTC'))) AND (true)
      ) AS s
      LEFT JOIN (
  SELECT session_id, sum(bytes_sent) AS recent_sent, sum(bytes_received) AS recent_received
  FROM session_traffic_1m FINAL
  WHERE bucket >= toDateTime({since_s:UInt32}, 'UTC')
  GROUP BY session_id) AS r ON r.session_id = s.session_id
      GROUP BY s.user WITH ROLLUP
      ORDER BY is_total DESC, recent_sent + recent_received DESC, sessions DESC, user ASC
      LIMIT {limit:UInt32}
