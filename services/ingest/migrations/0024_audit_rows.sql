-- Rows of a Parquet export are not counted.
ALTER TABLE ${table:export_audit}
    MODIFY COLUMN rows Nullable(UInt64) COMMENT 'rows sent, 0 in the entry made at the beginning, null for parquet';

${facade:export_audit MODIFY COLUMN rows Nullable(UInt64)};
