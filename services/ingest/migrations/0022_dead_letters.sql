-- Dead letters as the API shows them: how many, why, and where one of them came from. The letters
-- themselves are in the dead-letter topic.
CREATE TABLE IF NOT EXISTS ${table:ingest_dead_letters}
(
    at        DateTime64(3, 'UTC')   COMMENT 'when these were counted',
    reason    LowCardinality(String) COMMENT 'why the records are not events',
    letters   UInt64                 COMMENT 'how many since the row before; a record that is delivered again counts again',
    topic     LowCardinality(String) COMMENT 'topic of the newest of them',
    partition UInt32                 COMMENT 'its partition',
    offset    UInt64                 COMMENT 'its offset',
    detail    String                 COMMENT 'what is wrong with it'
)
ENGINE = ${engine:MergeTree}
ORDER BY at
TTL toDateTime(at) + INTERVAL 30 DAY
COMMENT 'Counts of dead letters, each with a sample';

${distributed:ingest_dead_letters:cityHash64(at)};
