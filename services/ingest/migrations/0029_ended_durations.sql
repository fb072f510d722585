-- Questions ask for the duration of a session by `duration_ms`, and of an open one by its newest event. An end
-- is the newest event of its session, so questions by duration can read ends as they are. The column takes no space.
ALTER TABLE ${table:ended_sessions}
    ADD COLUMN IF NOT EXISTS updated_at DateTime64(3, 'UTC') ALIAS ended_at COMMENT 'the end, under the name that it has in sessions';

${facade:ended_sessions ADD COLUMN IF NOT EXISTS updated_at DateTime64(3, 'UTC') ALIAS ended_at};
