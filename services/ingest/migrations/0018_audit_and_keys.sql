-- The audit log also has sign-ins, changes of keys and removals. An action has an entry at its beginning
-- and one at its end.
ALTER TABLE ${table:export_audit}
    ADD COLUMN IF NOT EXISTS restricted_to Array(String)              COMMENT 'the only users whose sessions the principal could see, empty for all',
    ADD COLUMN IF NOT EXISTS ended_at      Nullable(DateTime64(3, 'UTC')) COMMENT 'when it ended, null in the entry made at the beginning',
    ADD COLUMN IF NOT EXISTS bytes         UInt64                     COMMENT 'bytes sent, 0 in the entry made at the beginning';

${facade:export_audit ADD COLUMN IF NOT EXISTS restricted_to Array(String), ADD COLUMN IF NOT EXISTS ended_at Nullable(DateTime64(3, 'UTC')), ADD COLUMN IF NOT EXISTS bytes UInt64};

ALTER TABLE ${table:api_keys}
    ADD COLUMN IF NOT EXISTS users           Array(String) DEFAULT if(user IS NULL, [], [assumeNotNull(user)]) COMMENT 'the only users whose sessions the key may see, empty for all' AFTER user,
    ADD COLUMN IF NOT EXISTS rate_per_minute UInt32        COMMENT 'requests in a minute, 0 for QUERY_RATE_PER_MINUTE' AFTER users,
    ADD COLUMN IF NOT EXISTS created_by      String        COMMENT 'principal that made it, empty for the command line' AFTER rate_per_minute;

${facade:api_keys ADD COLUMN IF NOT EXISTS users Array(String) AFTER user, ADD COLUMN IF NOT EXISTS rate_per_minute UInt32 AFTER users, ADD COLUMN IF NOT EXISTS created_by String AFTER rate_per_minute};

-- When each key was last used.
CREATE TABLE IF NOT EXISTS ${table:api_key_uses}
(
    key_id  String               COMMENT 'public part of the key',
    used_at DateTime64(3, 'UTC') COMMENT 'when it was last used; written about once a minute'
)
ENGINE = ${engine:ReplacingMergeTree(used_at)}
ORDER BY key_id
TTL toDateTime(used_at) + INTERVAL 400 DAY
COMMENT 'Last uses of API keys';

${distributed:api_key_uses:cityHash64(key_id)};
