-- An end that a proxy's next process assumed gives way to the real one, which may have the same number
-- when a machine lost power. Both stay in the audit trail.
ALTER TABLE ${table:sessions}
    ADD COLUMN IF NOT EXISTS assumed UInt8 COMMENT 'whether the end was assumed for a process that died' CODEC(ZSTD(1)) AFTER connect_ms;

${facade:sessions ADD COLUMN IF NOT EXISTS assumed UInt8 AFTER connect_ms};

ALTER TABLE ${table:sessions_by_user}
    ADD COLUMN IF NOT EXISTS assumed UInt8 COMMENT 'whether the end was assumed for a process that died' CODEC(ZSTD(1)) AFTER connect_ms;

${facade:sessions_by_user ADD COLUMN IF NOT EXISTS assumed UInt8 AFTER connect_ms};

ALTER TABLE ${table:sessions_by_destination}
    ADD COLUMN IF NOT EXISTS assumed UInt8 COMMENT 'whether the end was assumed for a process that died' CODEC(ZSTD(1)) AFTER connect_ms;

${facade:sessions_by_destination ADD COLUMN IF NOT EXISTS assumed UInt8 AFTER connect_ms};

ALTER TABLE ${table:session_events}
    ADD COLUMN IF NOT EXISTS assumed UInt8 COMMENT 'SessionClosed: whether the end was assumed for a process that died' CODEC(ZSTD(1)) AFTER connect_ms,
    MODIFY ORDER BY (started_at, session_id, seq, assumed);

${facade:session_events ADD COLUMN IF NOT EXISTS assumed UInt8 AFTER connect_ms};
