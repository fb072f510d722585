-- Retentions that tables had before the present one. What was stored under one of them may have expired by
-- it, or may do so yet: a part keeps the expiry that it was written with. Written by migrate, before it
-- changes a retention; on a cluster each node has rows of its own.
CREATE TABLE IF NOT EXISTS ${table:ingest_former_retention}
(
    source     String          COMMENT 'the table, by the name that everybody reads',
    days       UInt32          COMMENT 'how long its rows were kept',
    changed_at DateTime('UTC') COMMENT 'until when that was so; the latest wins'
)
ENGINE = ${engine:ReplacingMergeTree(changed_at)}
ORDER BY (source, days)
COMMENT 'Former retentions: what is older than days and was stored before changed_at may have expired';

${distributed:ingest_former_retention:cityHash64(source)};
