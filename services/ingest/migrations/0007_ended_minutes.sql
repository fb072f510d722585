-- Sums over a range that does not begin and end at a full hour count the ends within some minutes. Most
-- sessions are short, but some in every granule of the hours before last long enough to end anywhere: a
-- minimum and a maximum exclude next to nothing. Which minutes do occur excludes nine granules of ten.
-- Measured on a day of 3.3 million sessions: the ends of half a minute in 15 ms of CPU in place of 36,
-- for 0.02 bytes per session.
ALTER TABLE ${table:sessions}
    ADD INDEX IF NOT EXISTS ended_minutes toStartOfMinute(ended_at) TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE ${table:sessions} MATERIALIZE INDEX ended_minutes;
