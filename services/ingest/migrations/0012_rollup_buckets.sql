-- What has changed of each bucket of sums, and what was summed. Every column but the keys only grows, so
-- neither repetition nor order matters. See docs/adr/0060.
--
-- A writer is one life of a process that changes rows: ingest, or a command. A bucket is dirty while
-- changed_through of some writer is above its summed_through.
CREATE TABLE IF NOT EXISTS ${table:ingest_rollup_buckets}
(
    span            LowCardinality(String)                             COMMENT 'hour, day, week, detail_hour or detail_day',
    bucket          DateTime('UTC')                                    COMMENT 'start of the bucket',
    writer          UUID                                               COMMENT 'one life of a process',
    changed_through SimpleAggregateFunction(max, UInt64)               COMMENT 'number of the latest change by this writer, drawn after its rows were acknowledged',
    summed_through  SimpleAggregateFunction(max, UInt64)               COMMENT 'number of the latest change by this writer that the sums have seen',
    drawn           SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'latest version that this writer drew for sums of the bucket',
    finished        SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'latest version of which this writer has stored every row',
    written_at      SimpleAggregateFunction(max, DateTime('UTC')) DEFAULT now() COMMENT 'when the row was last written to; never sent'
)
ENGINE = ${engine:AggregatingMergeTree}
ORDER BY (span, bucket, writer)
TTL written_at + INTERVAL 7 DAY DELETE WHERE summed_through >= changed_through AND drawn = 0
COMMENT 'What changed and what was summed, per bucket and writer; aggregate with max';

${distributed:ingest_rollup_buckets:cityHash64(span, bucket)};

-- From here on nobody may mark hours in the former way: an ingest of the version before cannot commit
-- what it could not mark, and the new one is given it again.
ALTER TABLE ${table:ingest_dirty_hours} ADD CONSTRAINT IF NOT EXISTS superseded CHECK 0;

ALTER TABLE ${table:ingest_dirty_sessions} ADD CONSTRAINT IF NOT EXISTS superseded CHECK 0;

-- What is there already was made with these versions; a new one must be above. Without a finished version
-- all rows of a bucket count, as before.
INSERT INTO ${rows:ingest_rollup_buckets} (span, bucket, writer, drawn)
SELECT 'hour', bucket, toUUID('00000000-0000-0000-0000-000000000001'), max(computed_at) FROM ${rows:rollup_1h} GROUP BY bucket
UNION ALL SELECT 'day', bucket, toUUID('00000000-0000-0000-0000-000000000001'), max(computed_at) FROM ${rows:rollup_1d} GROUP BY bucket
UNION ALL SELECT 'week', bucket, toUUID('00000000-0000-0000-0000-000000000001'), max(computed_at) FROM ${rows:rollup_1w} GROUP BY bucket
UNION ALL SELECT 'detail_hour', bucket, toUUID('00000000-0000-0000-0000-000000000001'), max(computed_at) FROM (
    SELECT bucket, computed_at FROM ${rows:rollup_pairs_1h} UNION ALL SELECT bucket, computed_at FROM ${rows:rollup_sketches_1h}) GROUP BY bucket
UNION ALL SELECT 'detail_day', bucket, toUUID('00000000-0000-0000-0000-000000000001'), max(computed_at) FROM (
    SELECT bucket, computed_at FROM ${rows:rollup_pairs_1d} UNION ALL SELECT bucket, computed_at FROM ${rows:rollup_sketches_1d}) GROUP BY bucket;

-- Hours that were marked and not summed yet, and those in which marked sessions ended before.
INSERT INTO ${rows:ingest_rollup_buckets} (span, bucket, writer, changed_through)
SELECT arrayJoin(['hour', 'detail_hour']), hour, toUUID('00000000-0000-0000-0000-000000000001'), 1
FROM (
    SELECT hour FROM ${rows:ingest_dirty_hours} FINAL WHERE done = 0
    UNION DISTINCT
    SELECT toStartOfHour(assumeNotNull(ended_at)) AS hour FROM ${rows:session_events}
    WHERE ended_at IS NOT NULL AND (started_at, session_id) IN (SELECT started_at, session_id FROM ${rows:ingest_dirty_sessions} FINAL WHERE done = 0)
);
