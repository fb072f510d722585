SELECT slot,
        uniqCombined64Merge(17)(users_state) AS users,
        uniqCombined64Merge(17)(destinations_state) AS destinations,
        uniqCombined64Merge(17)(sources_state) AS sources,
        arrayMap(q -> if(isFinite(q), q, NULL),
          quantilesDDMerge(0.01, 0.5, 0.9, 0.95, 0.99)(durations_state)) AS quantiles
      FROM (
    SELECT toInt64(0) AS slot, 
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS users_state,
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS destinations_state,
  initializeAggregation('uniqCombined64StateIf(17)', toIPv6('::'), 0) AS sources_state, initializeAggregation('quantilesDDStateIf(0.01, 0.5)', toUInt64(0), 0) AS durations_state FROM ingest_rollup_buckets WHERE false
    UNION ALL
    SELECT roundDown(toInt64(toUnixTimestamp(bucket)) * 1000, {periods:Array(Int64)}) AS slot, users_sketch AS users_state, destinations_sketch AS destinations_state,
  sources_sketch AS sources_state, duration_sketch AS durations_state
      FROM rollup_sketches_1d FINAL PREWHERE (bucket >= toDateTime({detail_day0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({detail_day0_to_s:UInt32}, 'UTC'))
      WHERE toUnixTimestamp64Micro(computed_at) >= transform(toUInt32(bucket), (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'detail_day' AND ((bucket >= toDateTime({detail_day0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({detail_day0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).1, (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'detail_day' AND ((bucket >= toDateTime({detail_day0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({detail_day0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).2, toInt64(0))
    UNION ALL
    SELECT roundDown(toInt64(toUnixTimestamp(bucket)) * 1000, {periods:Array(Int64)}) AS slot, users_sketch AS users_state, destinations_sketch AS destinations_state,
  sources_sketch AS sources_state, duration_sketch AS durations_state
      FROM rollup_sketches_1h FINAL PREWHERE (bucket >= toDateTime({detail_hour0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({detail_hour0_to_s:UInt32}, 'UTC'))
      WHERE toUnixTimestamp64Micro(computed_at) >= transform(toUInt32(bucket), (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'detail_hour' AND ((bucket >= toDateTime({detail_hour0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({detail_hour0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).1, (SELECT (arrayConcat([toUInt32(0)], groupArray(start)), arrayConcat([toInt64(0)], groupArray(version)))
        FROM (SELECT toUInt32(bucket) AS start, toUnixTimestamp64Micro(max(finished)) AS version
          FROM ingest_rollup_buckets WHERE span = 'detail_hour' AND ((bucket >= toDateTime({detail_hour0_from_s:UInt32}, 'UTC') AND bucket < toDateTime({detail_hour0_to_s:UInt32}, 'UTC'))) GROUP BY bucket HAVING version > 0)).2, toInt64(0))
    UNION ALL
    SELECT roundDown(toUnixTimestamp64Milli(started_at), {periods:Array(Int64)}) AS slot, 
  uniqCombined64State(17)(user) AS users_state, uniqCombined64State(17)(dest_host) AS destinations_state,
  uniqCombined64State(17)(source_ip) AS sources_state, initializeAggregation('quantilesDDStateIf(0.01, 0.5)', toUInt64(0), 0) AS durations_state
      FROM sessions WHERE ((started_at >= fromUnixTimestamp64Milli({began0_from:Int64}, 'UTC') AND started_at < fromUnixTimestamp64Milli({began0_to:Int64}, 'UTC'))) AND (true) GROUP BY slot
    UNION ALL
    SELECT roundDown(toUnixTimestamp64Milli(assumeNotNull(ended_at)), {periods:Array(Int64)}) AS slot, 
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS users_state,
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS destinations_state,
  initializeAggregation('uniqCombined64StateIf(17)', toIPv6('::'), 0) AS sources_state, quantilesDDState(0.01, 0.5)(assumeNotNull(duration_ms)) AS durations_state
      FROM sessions FINAL WHERE ((status != 'active') AND (((ended_at >= fromUnixTimestamp64Milli({e0_ended0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_ended0_to:Int64}, 'UTC')) AND started_at < fromUnixTimestamp64Milli({e0_before:Int64}, 'UTC') AND (started_at >= fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') OR (started_at, session_id) IN (SELECT started_at, session_id FROM session_ends WHERE ended_at >= fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_hours_end:Int64}, 'UTC')
            AND started_at < fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC')))))) AND (true) GROUP BY slot
    UNION ALL
    SELECT roundDown(toUnixTimestamp64Milli(assumeNotNull(ended_at)), {periods:Array(Int64)}) AS slot, 
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS users_state,
  initializeAggregation('uniqCombined64StateIf(17)', '', 0) AS destinations_state,
  initializeAggregation('uniqCombined64StateIf(17)', toIPv6('::'), 0) AS sources_state, quantilesDDState(0.01, 0.5)(assumeNotNull(duration_ms)) AS durations_state
      FROM ended_sessions FINAL WHERE ((((ended_at >= fromUnixTimestamp64Milli({e0_ended0_from:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_ended0_to:Int64}, 'UTC')) AND started_at < fromUnixTimestamp64Milli({e0_before:Int64}, 'UTC') AND (started_at < fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') AND NOT (started_at, session_id) IN (SELECT started_at, session_id FROM session_ends WHERE ended_at >= fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC') AND ended_at < fromUnixTimestamp64Milli({e0_hours_end:Int64}, 'UTC')
            AND started_at < fromUnixTimestamp64Milli({e0_hour:Int64}, 'UTC')))))) AND (true) GROUP BY slot
      )
      GROUP BY slot
