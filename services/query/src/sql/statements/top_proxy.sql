SELECT k AS key, toUInt8(grouping(key)) AS is_total, sum(s_sessions_started) AS sessions_started, sum(s_sessions_closed) AS sessions_closed, sum(s_sessions_failed) AS sessions_failed, sum(s_sessions_rejected) AS sessions_rejected, sum(s_bytes_sent) AS bytes_sent, sum(s_bytes_received) AS bytes_received, sum(s_packets_sent) AS packets_sent, sum(s_packets_received) AS packets_received, sum(s_duration_ms) AS duration_ms
      FROM (
    SELECT '' AS k, toInt64(0) AS slot, toUInt64(0) AS s_sessions_started, toUInt64(0) AS s_sessions_closed, toUInt64(0) AS s_sessions_failed, toUInt64(0) AS s_sessions_rejected, toUInt64(0) AS s_bytes_sent, toUInt64(0) AS s_bytes_received, toUInt64(0) AS s_packets_sent, toUInt64(0) AS s_packets_received, toUInt64(0) AS s_duration_ms
      FROM (SELECT '' AS user, '' AS dest_host, toUInt16(0) AS dest_port FROM ingest_rollup_buckets WHERE false)
    UNION ALL
    SELECT key AS k, toInt64(0) AS slot, sessions_started AS s_sessions_started, sessions_closed AS s_sessions_closed, sessions_failed AS s_sessions_failed, sessions_rejected AS s_sessions_rejected, bytes_sent AS s_bytes_sent, bytes_received AS s_bytes_received, packets_sent AS s_packets_sent, packets_received AS s_packets_received, duration_ms AS s_duration_ms
      FROM rollup_1w FINAL
      WHERE (dimension IN {rollup_dimensions:Array(String)}) AND (((bucket >= toDateTime({w0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({w0_to_s:UInt32}, 'UTC'))) AND (toUnixTimestamp64Micro(computed_at) >= transform(toUInt32(bucket), (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'week' AND ((bucket >= toDateTime({w0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({w0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).1, (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'week' AND ((bucket >= toDateTime({w0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({w0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).2, toInt64(0))))
      
    UNION ALL
    SELECT key AS k, toInt64(0) AS slot, sessions_started AS s_sessions_started, sessions_closed AS s_sessions_closed, sessions_failed AS s_sessions_failed, sessions_rejected AS s_sessions_rejected, bytes_sent AS s_bytes_sent, bytes_received AS s_bytes_received, packets_sent AS s_packets_sent, packets_received AS s_packets_received, duration_ms AS s_duration_ms
      FROM rollup_1d FINAL
      WHERE (dimension IN {rollup_dimensions:Array(String)}) AND (((bucket >= toDateTime({d0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({d0_to_s:UInt32}, 'UTC'))) AND (toUnixTimestamp64Micro(computed_at) >= transform(toUInt32(bucket), (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'day' AND ((bucket >= toDateTime({d0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({d0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).1, (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'day' AND ((bucket >= toDateTime({d0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({d0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).2, toInt64(0))))
      
    UNION ALL
    SELECT key AS k, toInt64(0) AS slot, sessions_started AS s_sessions_started, sessions_closed AS s_sessions_closed, sessions_failed AS s_sessions_failed, sessions_rejected AS s_sessions_rejected, bytes_sent AS s_bytes_sent, bytes_received AS s_bytes_received, packets_sent AS s_packets_sent, packets_received AS s_packets_received, duration_ms AS s_duration_ms
      FROM rollup_1h FINAL
      WHERE (dimension IN {rollup_dimensions:Array(String)}) AND (((bucket >= toDateTime({h0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({h0_to_s:UInt32}, 'UTC'))) AND (toUnixTimestamp64Micro(computed_at) >= transform(toUInt32(bucket), (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'hour' AND ((bucket >= toDateTime({h0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({h0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).1, (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'hour' AND ((bucket >= toDateTime({h0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({h0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).2, toInt64(0))))
      
    UNION ALL
    SELECT key AS k, toInt64(0) AS slot, sessions_started AS s_sessions_started, sessions_closed AS s_sessions_closed, sessions_failed AS s_sessions_failed, sessions_rejected AS s_sessions_rejected, bytes_sent AS s_bytes_sent, bytes_received AS s_bytes_received, packets_sent AS s_packets_sent, packets_received AS s_packets_received, duration_ms AS s_duration_ms
      FROM rollup_10m FINAL
      WHERE (dimension IN {rollup_dimensions:Array(String)}) AND (((bucket >= toDateTime({ten0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({ten0_to_s:UInt32}, 'UTC'))) AND (toUnixTimestamp64Micro(computed_at) >= transform(toUInt32(bucket), (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) + 600 * slice AS start, toInt64(max(finished_at)) AS version
          FROM (SELECT bucket, arrayJoin(slices_finished) AS each, each.1 AS slice, each.2 AS finished_at
            FROM ingest_rollup_buckets WHERE span = 'hour' AND ((bucket >= toDateTime({ten_hour0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({ten_hour0_to_s:UInt32}, 'UTC'))))
          GROUP BY start)).1, (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) + 600 * slice AS start, toInt64(max(finished_at)) AS version
          FROM (SELECT bucket, arrayJoin(slices_finished) AS each, each.1 AS slice, each.2 AS finished_at
            FROM ingest_rollup_buckets WHERE span = 'hour' AND ((bucket >= toDateTime({ten_hour0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({ten_hour0_to_s:UInt32}, 'UTC'))))
          GROUP BY start)).2, toInt64(0))))
      
    UNION ALL
    SELECT toString(proxy_id) AS k, toInt64(0) AS slot, toUInt64(0) AS s_sessions_started, countIf(status = 'closed') AS s_sessions_closed, countIf(status = 'failed') AS s_sessions_failed, countIf(status = 'rejected_by_acl') AS s_sessions_rejected, toUInt64(0) AS s_bytes_sent, toUInt64(0) AS s_bytes_received, toUInt64(0) AS s_packets_sent, toUInt64(0) AS s_packets_received, sum(ifNull(duration_ms, 0)) AS s_duration_ms
      FROM sessions FINAL
      WHERE ((status != 'active') AND (((ended_at >= fromUnixTimestamp64Milli({e0_ended0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_ended0_to:Int64}, 'UTC')) AND started_at < fromUnixTimestamp64Milli({e0_before:Int64}, 'UTC') AND (started_at >= fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') OR (started_at, session_id) IN (SELECT started_at, session_id FROM session_ends WHERE ended_at >= fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_hours_end:Int64}, 'UTC')
            AND started_at < fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC')))))) AND ((true))
      GROUP BY k, slot
    UNION ALL
    SELECT toString(proxy_id) AS k, toInt64(0) AS slot, toUInt64(0) AS s_sessions_started, countIf(status = 'closed') AS s_sessions_closed, countIf(status = 'failed') AS s_sessions_failed, countIf(status = 'rejected_by_acl') AS s_sessions_rejected, toUInt64(0) AS s_bytes_sent, toUInt64(0) AS s_bytes_received, toUInt64(0) AS s_packets_sent, toUInt64(0) AS s_packets_received, sum(ifNull(duration_ms, 0)) AS s_duration_ms
      FROM ended_sessions FINAL
      WHERE ((((ended_at >= fromUnixTimestamp64Milli({e0_ended0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_ended0_to:Int64}, 'UTC')) AND started_at < fromUnixTimestamp64Milli({e0_before:Int64}, 'UTC') AND (started_at < fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') AND NOT (started_at, session_id) IN (SELECT started_at, session_id FROM session_ends WHERE ended_at >= fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_hours_end:Int64}, 'UTC')
            AND started_at < fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC')))))) AND ((true))
      GROUP BY k, slot
    UNION ALL
    SELECT toString(proxy_id) AS k, toInt64(0) AS slot, count() AS s_sessions_started, countIf(status = 'closed' AND (status != 'active' AND (started_at >= fromUnixTimestamp64Milli({s0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({s0_to:Int64}, 'UTC')))) AS s_sessions_closed, countIf(status = 'failed' AND (status != 'active' AND (started_at >= fromUnixTimestamp64Milli({s0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({s0_to:Int64}, 'UTC')))) AS s_sessions_failed, countIf(status = 'rejected_by_acl' AND (status != 'active' AND (started_at >= fromUnixTimestamp64Milli({s0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({s0_to:Int64}, 'UTC')))) AS s_sessions_rejected, toUInt64(0) AS s_bytes_sent, toUInt64(0) AS s_bytes_received, toUInt64(0) AS s_packets_sent, toUInt64(0) AS s_packets_received, sumIf(ifNull(duration_ms, 0), (status != 'active' AND (started_at >= fromUnixTimestamp64Milli({s0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({s0_to:Int64}, 'UTC')))) AS s_duration_ms
      FROM sessions FINAL
      WHERE ((started_at >= fromUnixTimestamp64Milli({s0_from:Int64}, 'UTC') AND started_at < fromUnixTimestamp64Milli({s0_to:Int64}, 'UTC'))) AND ((true))
      GROUP BY k, slot
    UNION ALL
    SELECT toString(proxy_id) AS k, toInt64(0) AS slot, toUInt64(0) AS s_sessions_started, toUInt64(0) AS s_sessions_closed, toUInt64(0) AS s_sessions_failed, toUInt64(0) AS s_sessions_rejected, sum(bytes_sent) AS s_bytes_sent, sum(bytes_received) AS s_bytes_received, sum(packets_sent) AS s_packets_sent, sum(packets_received) AS s_packets_received, toUInt64(0) AS s_duration_ms
      FROM session_traffic_1m FINAL
      PREWHERE ((bucket >= toDateTime({m0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({m0_to_s:UInt32}, 'UTC'))) AND (true) AND (1)
      GROUP BY k, slot
      )
      GROUP BY key WITH ROLLUP
      HAVING is_total = 1 OR (sessions_started + sessions_closed + sessions_failed + sessions_rejected + bytes_sent + bytes_received + packets_sent + packets_received > 0)
      ORDER BY is_total DESC, bytes_sent + bytes_received DESC, sessions_started DESC, key ASC
      LIMIT {limit:UInt32}
