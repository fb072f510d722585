-- Notes on moments and ranges of time: deployments, incidents.
CREATE TABLE IF NOT EXISTS ${table:annotations}
(
    annotation_id UUID                      COMMENT 'UUIDv7',
    starts_at     DateTime64(3, 'UTC')      COMMENT 'the moment, or the start of the range',
    ends_at       DateTime64(3, 'UTC')      COMMENT 'the end of the range, the same as starts_at for a moment',
    text          String                    COMMENT 'the note',
    tags          Array(LowCardinality(String)) COMMENT 'kinds, such as deployment or incident',
    created_at    DateTime64(3, 'UTC')      COMMENT 'when it was written',
    created_by    String                    COMMENT 'principal that wrote it',
    deleted_at    Nullable(DateTime64(3, 'UTC')) COMMENT 'when it was deleted, null before',
    version       UInt64                    COMMENT 'milliseconds since 1970 of this change; the higher one wins'
)
ENGINE = ${engine:ReplacingMergeTree(version)}
ORDER BY annotation_id
COMMENT 'Annotations; read with FINAL';

${distributed:annotations:cityHash64(annotation_id)};
