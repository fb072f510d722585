-- A page of one user or one destination reads a granule or two of every column from each part that may
-- hold a row of it. With a file per column that is 25 files and 25 blocks of many granules a part; a
-- compact part has the columns of a granule side by side. Measured on 10 million sessions in 20 to 25
-- parts: a page of a rare user 10.4 ms in place of 23.7, of a busy one 3.0 in place of 3.9. It costs a
-- third more for a merge and a fifth more for sums over a busy user; inserts cost the same.
-- Parts that are there keep their form until they are merged.
ALTER TABLE ${table:sessions_by_user} MODIFY SETTING min_bytes_for_wide_part = 1099511627776;

ALTER TABLE ${table:sessions_by_destination} MODIFY SETTING min_bytes_for_wide_part = 1099511627776;
