-- The query service's live stream asks every second for the events that were stored since: of the
-- parts that are there only those with recent rows need be looked into.
ALTER TABLE ${table:session_events}
    ADD INDEX IF NOT EXISTS ingested_minmax ingested_at TYPE minmax GRANULARITY 1;
