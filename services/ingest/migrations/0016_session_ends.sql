-- Where sessions are found that ended in another hour than they began in. `sessions` stands in the order of
-- starts: one long session in a granule makes its range of ends reach over days, and an index over ends
-- excludes next to nothing. Measured on 5 million sessions in 30 days, 5 % of them up to 30 days long: the
-- 281 that ended in an hour and had begun before it were looked for among 3.2 million rows.
--
-- A row says that the session may have ended then; `sessions` says whether it has. So a row that a later
-- event has made untrue does no harm, and rows are only ever added.
CREATE TABLE IF NOT EXISTS ${table:session_ends}
(
    ended_at   DateTime64(3, 'UTC') COMMENT 'when it ended, by an event or because it was found lost' CODEC(Delta, ZSTD(1)),
    started_at DateTime64(3, 'UTC') COMMENT 'start of the session'                                   CODEC(Delta, ZSTD(1)),
    session_id UUID                 COMMENT 'the session'                                            CODEC(ZSTD(1))
)
ENGINE = ${engine:ReplacingMergeTree}
PARTITION BY toYYYYMM(ended_at)
ORDER BY (ended_at, started_at, session_id)
COMMENT 'Ends of sessions in another hour than their start; a row may have been overridden';

${distributed:session_ends:cityHash64(session_id)};

INSERT INTO ${rows:session_ends} (ended_at, started_at, session_id)
SELECT assumeNotNull(ended_at), started_at, session_id FROM ${rows:sessions}
WHERE ended_at IS NOT NULL AND toStartOfHour(assumeNotNull(ended_at)) != toStartOfHour(started_at);
