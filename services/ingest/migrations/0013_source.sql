-- Which topic of which Kafka cluster these tables hold: a second one would declare the first one's live
-- sessions lost, and mix its watermarks.
CREATE TABLE IF NOT EXISTS ${table:ingest_source}
(
    id         UInt8               COMMENT 'always 1',
    topic      String              COMMENT 'the topic of session events',
    cluster_id String              COMMENT 'the id that the Kafka cluster has of itself',
    decided_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when; the latest wins'
)
ENGINE = ${engine:ReplacingMergeTree(decided_at)}
ORDER BY id
COMMENT 'The source of these tables; read with FINAL';

${distributed:ingest_source:id};
