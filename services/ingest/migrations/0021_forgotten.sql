-- Whose sessions of before a time are forgotten, so that the topic does not bring them back. A row goes when
-- the topic no longer has them.
CREATE TABLE IF NOT EXISTS ${table:ingest_forgotten}
(
    kind        LowCardinality(String)    COMMENT 'user or source_ip',
    value       String                    COMMENT 'the user, or the source address',
    through     DateTime64(3, 'UTC')      COMMENT 'sessions that started before are forgotten',
    hours       Array(UInt32)             COMMENT 'hours whose sums change, seconds since 1970, until it is finished',
    keep_until  DateTime('UTC')           COMMENT 'when the topic no longer has the events',
    finished_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when everything was removed, null before',
    version     DateTime64(6, 'UTC') DEFAULT now64(6) COMMENT 'the latest wins'
)
ENGINE = ${engine:ReplacingMergeTree(version)}
ORDER BY (kind, value)
TTL keep_until + INTERVAL 30 DAY
COMMENT 'Forgotten persons; read with FINAL';

${distributed:ingest_forgotten:cityHash64(kind, value)};
