-- A page reads a granule or two of every column from each part. Blocks of 64 KiB and more hold many
-- granules, and all of a block is decompressed: a page of a rare user took half as long again.
-- Costs about 1 % of disk. Parts that are there keep their blocks until they are merged.
ALTER TABLE ${table:sessions} MODIFY SETTING min_compress_block_size = 16384, max_compress_block_size = 65536;

ALTER TABLE ${table:sessions_by_user} MODIFY SETTING min_compress_block_size = 16384, max_compress_block_size = 65536;

ALTER TABLE ${table:sessions_by_destination} MODIFY SETTING min_compress_block_size = 16384, max_compress_block_size = 65536;
