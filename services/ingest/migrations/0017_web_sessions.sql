-- Who is signed in with a browser. Only a hash of the token in the cookie is kept.
CREATE TABLE IF NOT EXISTS ${table:web_sessions}
(
    token_hash String                       COMMENT 'SHA-256 of the token, hexadecimal',
    key_id     String                       COMMENT 'the key that it acts as, and ends with',
    created_at DateTime64(3, 'UTC')         COMMENT 'when somebody signed in',
    expires_at DateTime64(3, 'UTC')         COMMENT 'when it ends by itself',
    ended_at   Nullable(DateTime64(3, 'UTC')) COMMENT 'when somebody signed out, or in again; null before',
    version    UInt64                       COMMENT 'milliseconds since 1970 of this change; the higher one wins'
)
ENGINE = ${engine:ReplacingMergeTree(version)}
ORDER BY token_hash
TTL toDateTime(expires_at) + INTERVAL 30 DAY
COMMENT 'Sessions of browsers; read with FINAL';

${distributed:web_sessions:cityHash64(token_hash)};
