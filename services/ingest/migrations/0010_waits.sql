-- Partitions that stand still: where, why, and which version of the contract they need.
CREATE TABLE IF NOT EXISTS ${table:ingest_waits}
(
    topic          String                 COMMENT 'the topic of session events',
    partition      UInt32                 COMMENT 'its partition',
    is_waiting     UInt8                  COMMENT '0 once it goes on',
    offset         UInt64                 COMMENT 'the record that it waits at',
    kind           LowCardinality(String) COMMENT 'damaged, too_large, unknown_version, poison_flood or dead_letters',
    reason         String                 COMMENT 'in words',
    needed_version UInt32                 COMMENT 'the schema_version that ingest must know; 0 where it waits for something else',
    since          DateTime64(3, 'UTC')   COMMENT 'since when',
    observed_at    DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when this was written; the latest wins'
)
ENGINE = ${engine:ReplacingMergeTree(observed_at)}
ORDER BY (topic, partition)
COMMENT 'Waiting partitions: those with is_waiting = 1 under FINAL';

${distributed:ingest_waits:cityHash64(partition)};

-- What an operator decided to pass over.
CREATE TABLE IF NOT EXISTS ${table:ingest_skips}
(
    topic       String                 COMMENT 'the topic of session events',
    partition   UInt32                 COMMENT 'its partition',
    from_offset UInt64                 COMMENT 'the record, or the first of the batch, that is passed over',
    to_offset   UInt64                 COMMENT 'what begins before this offset is passed over',
    decided_at  DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when'
)
ENGINE = ${engine:ReplacingMergeTree(decided_at)}
ORDER BY (topic, partition, from_offset)
COMMENT 'Decisions of ingest skip; read with FINAL';

${distributed:ingest_skips:cityHash64(partition)};
