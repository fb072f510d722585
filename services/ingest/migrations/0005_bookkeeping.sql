-- Hours whose rollups must be recomputed. A mark is inserted after the rows that it stands for and before
-- their offsets are committed; the round that recomputed the hour writes the same mark with done = 1.
CREATE TABLE IF NOT EXISTS ${table:ingest_dirty_hours}
(
    mark_id   UUID                COMMENT 'one per flushed batch; a retried batch keeps its id',
    hour      DateTime('UTC')     COMMENT 'the hour that changed',
    done      UInt8 DEFAULT 0     COMMENT '1 once a recomputation that began after the mark has been stored',
    marked_at DateTime('UTC') DEFAULT now() COMMENT 'when the mark was made'
)
ENGINE = ${engine:ReplacingMergeTree(done)}
ORDER BY (hour, mark_id)
TTL marked_at + INTERVAL 1 HOUR DELETE WHERE done = 1
COMMENT 'Hours to recompute: those with done = 0 under FINAL';

${distributed:ingest_dirty_hours:cityHash64(mark_id)};

-- Sessions of which earlier events may have been counted elsewhere: the round looks up where they ended before.
CREATE TABLE IF NOT EXISTS ${table:ingest_dirty_sessions}
(
    mark_id    UUID                COMMENT 'one per flushed batch; a retried batch keeps its id',
    session_id UUID                COMMENT 'the session',
    started_at DateTime64(3, 'UTC') COMMENT 'its start',
    done       UInt8 DEFAULT 0     COMMENT '1 once its hours have been marked',
    marked_at  DateTime('UTC') DEFAULT now() COMMENT 'when the mark was made'
)
ENGINE = ${engine:ReplacingMergeTree(done)}
ORDER BY (started_at, session_id, mark_id)
TTL marked_at + INTERVAL 1 HOUR DELETE WHERE done = 1
COMMENT 'Sessions whose former ends are to be recomputed: those with done = 0 under FINAL';

${distributed:ingest_dirty_sessions:cityHash64(session_id)};

-- How far each partition of the topic has been folded, by the events' own time.
CREATE TABLE IF NOT EXISTS ${table:ingest_watermarks}
(
    topic       String                    COMMENT 'the topic of session events',
    partition   UInt32                    COMMENT 'its partition',
    watermark   DateTime64(3, 'UTC')      COMMENT 'latest occurred_at stored, never ahead of the clock of ingest',
    next_offset UInt64                    COMMENT 'offset to be read next',
    caught_up   UInt8                     COMMENT '1 where nothing was left to read',
    observed_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when this was written; the latest wins'
)
ENGINE = ${engine:ReplacingMergeTree(observed_at)}
ORDER BY (topic, partition)
COMMENT 'Event-time watermark per partition; read with FINAL';

${distributed:ingest_watermarks:cityHash64(partition)};

-- Sessions that ingest declared lost, so that the hour they were counted in is recomputed when a real event comes.
CREATE TABLE IF NOT EXISTS ${table:ingest_lost_sessions}
(
    session_id  UUID                 COMMENT 'the session',
    started_at  DateTime64(3, 'UTC') COMMENT 'its start',
    ended_at    DateTime64(3, 'UTC') COMMENT 'the end that ingest wrote: when it was last heard of',
    version     UInt32               COMMENT 'version of the row that ingest wrote',
    state       UInt8                COMMENT '0 declared, 1 its hour was marked, 2 a real event has overridden it; the highest wins',
    declared_at DateTime('UTC') DEFAULT now() COMMENT 'when this was written'
)
ENGINE = ${engine:ReplacingMergeTree(state)}
ORDER BY (started_at, session_id, version)
TTL declared_at + INTERVAL 30 DAY
COMMENT 'Sessions declared lost; those below state 2 under FINAL are compared with sessions';

${distributed:ingest_lost_sessions:cityHash64(session_id)};

-- Up to which version of the finer sums the coarser ones were made: what a day must take over from its
-- hours, and a week from its days, is newer.
CREATE TABLE IF NOT EXISTS ${table:ingest_rollup_progress}
(
    span    LowCardinality(String) COMMENT 'day or week',
    bucket  DateTime('UTC')        COMMENT 'start of the UTC day or ISO week',
    through DateTime64(6, 'UTC')   COMMENT 'computed_at of the finer sums that it was last made from'
)
ENGINE = ${engine:ReplacingMergeTree(through)}
ORDER BY (span, bucket)
COMMENT 'Progress from hours to days and from days to weeks; read with FINAL';

${distributed:ingest_rollup_progress:toUnixTimestamp(bucket)};

-- What the rollups are good for: one row per finished round.
CREATE TABLE IF NOT EXISTS ${table:ingest_rollup_state}
(
    id          UInt8                     COMMENT 'always 1',
    fresh_at    DateTime64(6, 'UTC')      COMMENT 'rows stored before this time are in the rollups',
    dirty_hours UInt64                    COMMENT 'hours left to recompute after the round',
    observed_at DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'when this was written; the latest wins'
)
ENGINE = ${engine:ReplacingMergeTree(observed_at)}
ORDER BY id
COMMENT 'Freshness of the rollups; read with FINAL';

${distributed:ingest_rollup_state:id};
