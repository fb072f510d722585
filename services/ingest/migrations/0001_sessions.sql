-- One row per session once merged: the whole row of its highest event. See docs/adr/0030.
--
-- A session's start never changes, so its versions all fall into one partition and FINAL need not
-- merge across partitions. A UUIDv7 carries started_at to the millisecond, which makes the primary
-- key usable for a lookup by id. In granules of a quarter of the default size, and blocks of no more
-- than 64 KiB: a page and a lookup read one granule of every column, and a block is decompressed whole.
--
-- A part of the wide form is a file or two per column. What a batch inserts is larger than the 10 MiB
-- from which parts are wide by default, and is soon merged away: making and deleting some hundred files
-- for each batch cost an eighth of the CPU of inserting and merging. In the compact form a part is one
-- file; larger parts, where reading one column alone pays, are wide as before.
CREATE TABLE IF NOT EXISTS ${table:sessions}
(
    session_id       UUID                             COMMENT 'UUIDv7; its time is the start of the session'                               CODEC(ZSTD(1)),
    seq              UInt32                           COMMENT 'number of the event that this row is: 0, 1, 2 ... within the session'       CODEC(T64, ZSTD(1)),
    proxy_id         LowCardinality(String)           COMMENT 'the proxy that served the session'                                          CODEC(ZSTD(1)),
    proxy_epoch      UInt64                           COMMENT 'start of that proxy process, milliseconds since 1970'                       CODEC(ZSTD(1)),
    started_at       DateTime64(3, 'UTC')             COMMENT 'when the request was understood; never changes'                             CODEC(DoubleDelta, ZSTD(1)),
    user             String                           COMMENT 'who asked; anonymous where the client did not authenticate'                 CODEC(ZSTD(1)),
    source_ip        IPv6                             COMMENT 'address of the client; IPv4 is mapped (::ffff:a.b.c.d)'                      CODEC(ZSTD(1)),
    source_port      UInt16                           COMMENT 'port of the client'                                                         CODEC(ZSTD(1)),
    dest_host        String                           COMMENT 'destination as asked: a name or an address'                                 CODEC(ZSTD(1)),
    dest_ip          Nullable(IPv6)                   COMMENT 'address connected to, null where none; IPv4 is mapped'                      CODEC(ZSTD(1)),
    dest_port        UInt16                           COMMENT 'port of the destination'                                                    CODEC(ZSTD(1)),
    protocol         LowCardinality(String)           COMMENT 'tcp or udp'                                                                 CODEC(ZSTD(1)),
    command          LowCardinality(String)           COMMENT 'connect, bind or udp_associate'                                             CODEC(ZSTD(1)),
    auth_method      LowCardinality(String)           COMMENT 'none or password'                                                           CODEC(ZSTD(1)),
    acl_decision     LowCardinality(String)           COMMENT 'allow or block'                                                             CODEC(ZSTD(1)),
    acl_rule_matched LowCardinality(Nullable(String)) COMMENT 'name of the rule that decided, null where none'                             CODEC(ZSTD(1)),
    bytes_sent       UInt64                           COMMENT 'payload bytes, client to destination, since the session began'              CODEC(T64, ZSTD(1)),
    bytes_received   UInt64                           COMMENT 'payload bytes, destination to client, since the session began'              CODEC(T64, ZSTD(1)),
    packets_sent     UInt64                           COMMENT 'client to destination: datagrams for UDP, reads from the socket for TCP'    CODEC(T64, ZSTD(1)),
    packets_received UInt64                           COMMENT 'destination to client: datagrams for UDP, reads from the socket for TCP'    CODEC(T64, ZSTD(1)),
    status           LowCardinality(String)           COMMENT 'active, closed, failed or rejected_by_acl'                                  CODEC(ZSTD(1)),
    close_reason     LowCardinality(Nullable(String)) COMMENT 'who or what ended it, null while active'                                    CODEC(ZSTD(1)),
    error_code       LowCardinality(Nullable(String)) COMMENT 'errno or SOCKS reply, null where none'                                      CODEC(ZSTD(1)),
    connect_ms       Nullable(UInt64)                 COMMENT 'time to connect in milliseconds, null where not connected'                  CODEC(T64, ZSTD(1)),
    updated_at       DateTime64(3, 'UTC')             COMMENT 'occurred_at of the event that this row is'                                  CODEC(Delta, ZSTD(1)),
    ended_at         Nullable(DateTime64(3, 'UTC'))   COMMENT 'when it ended, null while active'                                           CODEC(Delta, ZSTD(1)),
    duration_ms      Nullable(UInt64)                 COMMENT 'from start to end in milliseconds, null while active'                       CODEC(T64, ZSTD(1)),
    version          UInt32                           COMMENT 'the higher one wins: seq * 2, and seq * 2 + 1 for a row that ingest wrote'  CODEC(T64, ZSTD(1))
)
ENGINE = ${engine:ReplacingMergeTree(version)}
PARTITION BY toDate(started_at)
ORDER BY (started_at, session_id)
SETTINGS index_granularity = 2048, min_compress_block_size = 16384, max_compress_block_size = 65536,
    min_bytes_for_wide_part = 67108864
COMMENT 'Every session, by start; read with FINAL';

${distributed:sessions:cityHash64(session_id)};

-- The same rows by user. A page of one user reads a granule or two of every column from each part that
-- may hold a row of it. With a file per column that is 25 files and 25 blocks of many granules a part; a
-- compact part, whatever its size, has the columns of a granule side by side. Measured on 10 million
-- sessions in 20 to 25 parts: a page of a rare user 10.4 ms in place of 23.7, of a busy one 3.0 in place
-- of 3.9. It costs a third more for a merge and a fifth more for sums over a busy user; inserts cost the
-- same.
CREATE TABLE IF NOT EXISTS ${table:sessions_by_user} AS ${table:sessions}
ENGINE = ${engine:ReplacingMergeTree(version)}
PARTITION BY toYYYYMM(started_at)
ORDER BY (user, started_at, session_id)
SETTINGS index_granularity = 1024, min_compress_block_size = 16384, max_compress_block_size = 65536,
    min_bytes_for_wide_part = 1099511627776
COMMENT 'Every session, by user; the same rows as sessions, inserted with them';

${distributed:sessions_by_user:cityHash64(session_id)};

-- The same rows by destination.
CREATE TABLE IF NOT EXISTS ${table:sessions_by_destination} AS ${table:sessions}
ENGINE = ${engine:ReplacingMergeTree(version)}
PARTITION BY toYYYYMM(started_at)
ORDER BY (dest_host, started_at, session_id)
SETTINGS index_granularity = 1024, min_compress_block_size = 16384, max_compress_block_size = 65536,
    min_bytes_for_wide_part = 1099511627776
COMMENT 'Every session, by destination; the same rows as sessions, inserted with them';

${distributed:sessions_by_destination:cityHash64(session_id)};

-- After the copies, which take the columns of sessions but have no use for its indexes: there they
-- would cost a fifth of the insert. Four granules each: finer ones cost more to look through than they
-- spare.
ALTER TABLE ${table:sessions}
    ADD INDEX IF NOT EXISTS status_set   status    TYPE set(4)             GRANULARITY 4,
    ADD INDEX IF NOT EXISTS ended_minmax ended_at  TYPE minmax             GRANULARITY 4,
    ADD INDEX IF NOT EXISTS source_bloom source_ip TYPE bloom_filter(0.01) GRANULARITY 16,
    ADD INDEX IF NOT EXISTS dest_bloom   dest_ip   TYPE bloom_filter(0.01) GRANULARITY 16;
