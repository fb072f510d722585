-- Keys of the HTTP API. Only a hash of the secret is kept.
CREATE TABLE IF NOT EXISTS ${table:api_keys}
(
    key_id     String                    COMMENT 'public part of the key, shown in lists and logs',
    key_hash   String                    COMMENT 'SHA-256 of the whole key, hexadecimal',
    name       String                    COMMENT 'what the key is for',
    scopes     Array(LowCardinality(String)) COMMENT 'read, export, admin',
    user       Nullable(String)          COMMENT 'the only user whose sessions the key may see, null for all',
    created_at DateTime64(3, 'UTC')      COMMENT 'when it was made',
    expires_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when it ends, null for never',
    revoked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when it was revoked, null while valid',
    version    UInt64                    COMMENT 'milliseconds since 1970 of this change; the higher one wins'
)
ENGINE = ${engine:ReplacingMergeTree(version)}
ORDER BY key_id
COMMENT 'API keys; read with FINAL';

${distributed:api_keys:cityHash64(key_id)};

-- Who took data out, and which.
CREATE TABLE IF NOT EXISTS ${table:export_audit}
(
    export_id   UUID                     COMMENT 'UUIDv7 of the export',
    exported_at DateTime64(3, 'UTC')     COMMENT 'when it began',
    principal   String                   COMMENT 'key id or subject of the token',
    remote_ip   String                   COMMENT 'address of the caller',
    route       LowCardinality(String)   COMMENT 'what was exported',
    format      LowCardinality(String)   COMMENT 'csv, ndjson or parquet',
    filters     String                   COMMENT 'the effective filters as JSON',
    rows        UInt64                   COMMENT 'rows sent, 0 in the entry made at the beginning',
    outcome     LowCardinality(String)   COMMENT 'started, finished, aborted or failed'
)
ENGINE = ${engine:MergeTree}
PARTITION BY toYYYYMM(exported_at)
ORDER BY (exported_at, export_id)
COMMENT 'Audit log of exports: one entry at the beginning, one at the end';

${distributed:export_audit:cityHash64(export_id)};
