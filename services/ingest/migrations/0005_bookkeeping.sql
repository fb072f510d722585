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
    session_id  UUID                COMMENT 'the session',
    started_at  DateTime64(3, 'UTC') COMMENT 'its start',
    ended_at    DateTime64(3, 'UTC') COMMENT 'the end that ingest wrote: when it was last heard of',
    version     UInt32              COMMENT 'version of the row that ingest wrote',
    resolved    UInt8 DEFAULT 0     COMMENT '1 once a real event has overridden it',
    declared_at DateTime('UTC') DEFAULT now() COMMENT 'when it was declared lost'
)
ENGINE = ${engine:ReplacingMergeTree(resolved)}
ORDER BY (started_at, session_id, version)
TTL declared_at + INTERVAL 30 DAY
COMMENT 'Sessions declared lost; unresolved ones under FINAL are checked against sessions';

${distributed:ingest_lost_sessions:cityHash64(session_id)};

-- What a table's rollups are good for: one row per finished round.
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
