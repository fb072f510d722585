-- A part of the wide form is a file or two per column. What a batch inserts is larger than the 10 MiB
-- from which parts are wide by default, and is soon merged away: making and deleting some hundred files
-- for each batch cost an eighth of the CPU of inserting and merging. In the compact form a part is one
-- file; larger parts, where reading one column alone pays, are wide as before.
ALTER TABLE ${table:sessions} MODIFY SETTING min_bytes_for_wide_part = 67108864;

ALTER TABLE ${table:session_events} MODIFY SETTING min_bytes_for_wide_part = 67108864;
