-- Sums per hour, day and week, recomputed from the exact tables for the hours that changed and replaced;
-- never incremented. A key that no longer occurs is replaced by zeros. See docs/adr/0031.
--
-- sessions_started counts in the bucket of started_at; sessions_closed, _failed, _rejected and
-- duration_ms in the bucket of ended_at; bytes and packets in the bucket of the minute they moved in.
-- Dimensions whose value may change until a session ends (acl_rule, close_reason, status) count all of
-- their figures, bytes and packets included, in the bucket of ended_at.
CREATE TABLE IF NOT EXISTS ${table:rollup_1h}
(
    dimension         LowCardinality(String) COMMENT 'total, user, destination, source, port, protocol, proxy, acl_rule, close_reason or status' CODEC(ZSTD(1)),
    bucket            DateTime('UTC')        COMMENT 'start of the UTC hour'                                      CODEC(Delta, ZSTD(1)),
    key               String                 COMMENT 'value of the dimension as text; empty for total and for no value' CODEC(ZSTD(1)),
    sessions_started  UInt64                 COMMENT 'sessions that started in the bucket'                        CODEC(T64, ZSTD(1)),
    sessions_closed   UInt64                 COMMENT 'sessions that ended in the bucket with status closed'       CODEC(T64, ZSTD(1)),
    sessions_failed   UInt64                 COMMENT 'sessions that ended in the bucket with status failed'       CODEC(T64, ZSTD(1)),
    sessions_rejected UInt64                 COMMENT 'sessions that ended in the bucket with status rejected_by_acl' CODEC(T64, ZSTD(1)),
    bytes_sent        UInt64                 COMMENT 'payload bytes, client to destination'                       CODEC(T64, ZSTD(1)),
    bytes_received    UInt64                 COMMENT 'payload bytes, destination to client'                       CODEC(T64, ZSTD(1)),
    packets_sent      UInt64                 COMMENT 'client to destination'                                      CODEC(T64, ZSTD(1)),
    packets_received  UInt64                 COMMENT 'destination to client'                                      CODEC(T64, ZSTD(1)),
    duration_ms       UInt64                 COMMENT 'sum of the durations of the sessions that ended in the bucket' CODEC(T64, ZSTD(1)),
    computed_at       DateTime64(6, 'UTC')   COMMENT 'when this was recomputed; the latest wins'                  CODEC(ZSTD(1))
)
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toYYYYMM(bucket)
ORDER BY (dimension, bucket, key)
COMMENT 'Sums per hour and value of one dimension; read with FINAL';

${distributed:rollup_1h:cityHash64(dimension, key)};

CREATE TABLE IF NOT EXISTS ${table:rollup_1d} AS ${table:rollup_1h}
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toYear(bucket)
ORDER BY (dimension, bucket, key)
COMMENT 'Sums per UTC day and value of one dimension; read with FINAL';

${distributed:rollup_1d:cityHash64(dimension, key)};

-- Per ISO week, from Monday: a month of top lists reads a quarter of the rows.
CREATE TABLE IF NOT EXISTS ${table:rollup_1w} AS ${table:rollup_1h}
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toYear(bucket)
ORDER BY (dimension, bucket, key)
COMMENT 'Sums per ISO week (UTC) and value of one dimension; read with FINAL';

${distributed:rollup_1w:cityHash64(dimension, key)};

-- What cannot be summed, as sketches that can be merged: up to 300 KB an hour, hence for all sessions
-- together only, and few rows to a granule.
CREATE TABLE IF NOT EXISTS ${table:rollup_sketches_1h}
(
    bucket              DateTime('UTC')      COMMENT 'start of the UTC hour'                                  CODEC(Delta, ZSTD(1)),
    sessions            UInt64               COMMENT 'sessions that ended in the bucket'                      CODEC(T64, ZSTD(1)),
    duration_sketch     AggregateFunction(quantilesDD(0.01, 0.5), UInt64) COMMENT 'their durations in milliseconds, quantiles within 1 %: quantilesDDMerge(0.01, 0.5, 0.9)(duration_sketch)' CODEC(ZSTD(1)),
    users_sketch        AggregateFunction(uniqCombined64(17), String) COMMENT 'users of the sessions that started in the bucket: uniqCombined64Merge(17)(users_sketch)' CODEC(ZSTD(1)),
    destinations_sketch AggregateFunction(uniqCombined64(17), String) COMMENT 'destinations of the sessions that started in the bucket' CODEC(ZSTD(1)),
    sources_sketch      AggregateFunction(uniqCombined64(17), IPv6) COMMENT 'source addresses of the sessions that started in the bucket' CODEC(ZSTD(1)),
    computed_at         DateTime64(6, 'UTC') COMMENT 'when this was recomputed; the latest wins'              CODEC(ZSTD(1))
)
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toYear(bucket)
ORDER BY bucket
SETTINGS index_granularity = 16
COMMENT 'Durations, users, destinations and sources of an hour as sketches; read with FINAL';

${distributed:rollup_sketches_1h:toUnixTimestamp(bucket)};

CREATE TABLE IF NOT EXISTS ${table:rollup_sketches_1d} AS ${table:rollup_sketches_1h}
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toYear(bucket)
ORDER BY bucket
SETTINGS index_granularity = 16
COMMENT 'The same sketches per UTC day; read with FINAL';

${distributed:rollup_sketches_1d:toUnixTimestamp(bucket)};

-- Who reached what: the same sums per user, destination and port.
CREATE TABLE IF NOT EXISTS ${table:rollup_pairs_1h}
(
    bucket            DateTime('UTC')        COMMENT 'start of the UTC hour'                                      CODEC(Delta, ZSTD(1)),
    user              String                 COMMENT 'who asked'                                                  CODEC(ZSTD(1)),
    dest_host         String                 COMMENT 'destination as asked'                                       CODEC(ZSTD(1)),
    dest_port         UInt16                 COMMENT 'port of the destination'                                    CODEC(ZSTD(1)),
    sessions_started  UInt64                 COMMENT 'sessions that started in the bucket'                        CODEC(T64, ZSTD(1)),
    sessions_closed   UInt64                 COMMENT 'sessions that ended in the bucket with status closed'       CODEC(T64, ZSTD(1)),
    sessions_failed   UInt64                 COMMENT 'sessions that ended in the bucket with status failed'       CODEC(T64, ZSTD(1)),
    sessions_rejected UInt64                 COMMENT 'sessions that ended in the bucket with status rejected_by_acl' CODEC(T64, ZSTD(1)),
    bytes_sent        UInt64                 COMMENT 'payload bytes, client to destination'                       CODEC(T64, ZSTD(1)),
    bytes_received    UInt64                 COMMENT 'payload bytes, destination to client'                       CODEC(T64, ZSTD(1)),
    packets_sent      UInt64                 COMMENT 'client to destination'                                      CODEC(T64, ZSTD(1)),
    packets_received  UInt64                 COMMENT 'destination to client'                                      CODEC(T64, ZSTD(1)),
    duration_ms       UInt64                 COMMENT 'sum of the durations of the sessions that ended in the bucket' CODEC(T64, ZSTD(1)),
    computed_at       DateTime64(6, 'UTC')   COMMENT 'when this was recomputed; the latest wins'                  CODEC(ZSTD(1))
)
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, user, dest_host, dest_port)
SETTINGS index_granularity = 2048
COMMENT 'Sums per hour, user, destination and port; read with FINAL';

${distributed:rollup_pairs_1h:cityHash64(user)};

CREATE TABLE IF NOT EXISTS ${table:rollup_pairs_1d} AS ${table:rollup_pairs_1h}
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toYYYYMM(bucket)
ORDER BY (bucket, user, dest_host, dest_port)
SETTINGS index_granularity = 2048
COMMENT 'Sums per UTC day, user, destination and port; read with FINAL';

${distributed:rollup_pairs_1d:cityHash64(user)};
