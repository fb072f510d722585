-- Sums per ten minutes of the hours that still change: such an hour is summed from its slices, and only slices
-- whose rows changed are read again. Nothing but sums of hours reads them. See docs/adr/0043.
CREATE TABLE IF NOT EXISTS ${table:rollup_10m} AS ${table:rollup_1h}
ENGINE = ${engine:ReplacingMergeTree(computed_at)}
PARTITION BY toDate(bucket)
ORDER BY (dimension, bucket, key)
TTL bucket + INTERVAL 3 DAY
SETTINGS ttl_only_drop_parts = 1
COMMENT 'Sums per ten minutes and value of one dimension, of hours that still change; read with FINAL';

${distributed:rollup_10m:cityHash64(dimension, key)};

-- In the row of the hour, so that a change and its slices are stored together. A change from before has no
-- slices: its hour is summed from the rows.
ALTER TABLE ${table:ingest_rollup_buckets}
    ADD COLUMN IF NOT EXISTS slices_changed  SimpleAggregateFunction(maxMap, Map(UInt8, UInt64)) COMMENT 'of an hour: changed_through by ten-minute slice' AFTER changed_through,
    ADD COLUMN IF NOT EXISTS slices_summed   SimpleAggregateFunction(maxMap, Map(UInt8, UInt64)) COMMENT 'of an hour: summed_through by ten-minute slice' AFTER summed_through,
    ADD COLUMN IF NOT EXISTS slices_finished SimpleAggregateFunction(maxMap, Map(UInt8, UInt64)) COMMENT 'of an hour: finished by ten-minute slice, microseconds since 1970' AFTER finished,
    ADD COLUMN IF NOT EXISTS knows_slices    SimpleAggregateFunction(max, UInt8) COMMENT 'of a writer with drawn: 0 if it is a process of a former version' AFTER drawn,
    ADD COLUMN IF NOT EXISTS begun           SimpleAggregateFunction(max, DateTime64(3, 'UTC')) COMMENT 'a time before the round of a finished version read its marks; 0 if a former version finished it' AFTER slices_finished;

${facade:ingest_rollup_buckets ADD COLUMN IF NOT EXISTS slices_changed SimpleAggregateFunction(maxMap, Map(UInt8, UInt64)) AFTER changed_through, ADD COLUMN IF NOT EXISTS slices_summed SimpleAggregateFunction(maxMap, Map(UInt8, UInt64)) AFTER summed_through, ADD COLUMN IF NOT EXISTS slices_finished SimpleAggregateFunction(maxMap, Map(UInt8, UInt64)) AFTER finished, ADD COLUMN IF NOT EXISTS knows_slices SimpleAggregateFunction(max, UInt8) AFTER drawn, ADD COLUMN IF NOT EXISTS begun SimpleAggregateFunction(max, DateTime64(3, 'UTC')) AFTER slices_finished};

-- Changes without slices are known as long as their hour may be summed from slices, also if it was in the future.
ALTER TABLE ${table:ingest_rollup_buckets}
    MODIFY TTL greatest(written_at, bucket) + INTERVAL 7 DAY DELETE WHERE summed_through >= changed_through AND drawn = 0;
