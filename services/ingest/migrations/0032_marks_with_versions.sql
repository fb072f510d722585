-- A finished version may stand in another part than the version that was drawn for it. Such a row must not expire
-- alone: keys that are gone from the sums would count again. A mark expires when it is merged with what settled it.
ALTER TABLE ${table:ingest_rollup_buckets}
    MODIFY TTL greatest(written_at, bucket) + INTERVAL 7 DAY DELETE
        WHERE changed_through > 0 AND summed_through >= changed_through AND drawn = 0 AND finished = 0 AND length(slices_finished) = 0;
