-- How far back those began that ended in an hour. What ended in the edges of a range is looked for among
-- all that began before; with this it is looked for in the days that can hold it, and not in the index of
-- every part: 18 ms of CPU in place of 55 at 100 million sessions in 30 days.
ALTER TABLE ${table:rollup_sketches_1h}
    ADD COLUMN IF NOT EXISTS earliest_start DateTime64(3, 'UTC') COMMENT 'earliest start of the sessions that ended in the bucket; 1970 where that is not known' CODEC(ZSTD(1)) AFTER sessions;

${facade:rollup_sketches_1h ADD COLUMN IF NOT EXISTS earliest_start DateTime64(3, 'UTC') AFTER sessions};
