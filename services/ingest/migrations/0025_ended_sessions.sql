-- Sessions that ended in another hour than they began in, by their end, with all figures of the end.
-- `session_ends` only names such sessions. Then `sessions` is read for each of them: a granule of 2,048 rows
-- for every long session that ended in the hour.
--
-- A proxy sends nothing of a session after its end, so a row counts as it is, unless `session_ends` names the
-- session too. Then the end is doubtful, and the row in `sessions` decides. Doubtful are ends that ingest or
-- another process declared, ends of sessions that were stored in another state too, and all ends from before
-- this table.
CREATE TABLE IF NOT EXISTS ${table:ended_sessions}
(
    ended_at         DateTime64(3, 'UTC')             COMMENT 'when it ended, by its SessionClosed'                               CODEC(Delta, ZSTD(1)),
    started_at       DateTime64(3, 'UTC')             COMMENT 'start of the session'                                              CODEC(Delta, ZSTD(1)),
    session_id       UUID                             COMMENT 'the session'                                                       CODEC(ZSTD(1)),
    user             String                           COMMENT 'who asked'                                                         CODEC(ZSTD(1)),
    dest_host        String                           COMMENT 'destination as asked: a name or an address'                        CODEC(ZSTD(1)),
    dest_port        UInt16                           COMMENT 'port of the destination'                                           CODEC(ZSTD(1)),
    source_ip        IPv6                             COMMENT 'address of the client; IPv4 is mapped'                             CODEC(ZSTD(1)),
    protocol         LowCardinality(String)           COMMENT 'tcp or udp'                                                        CODEC(ZSTD(1)),
    proxy_id         LowCardinality(String)           COMMENT 'the proxy that served the session'                                 CODEC(ZSTD(1)),
    acl_rule_matched LowCardinality(Nullable(String)) COMMENT 'name of the rule that decided, null if none'                       CODEC(ZSTD(1)),
    close_reason     LowCardinality(Nullable(String)) COMMENT 'who or what ended it'                                              CODEC(ZSTD(1)),
    status           LowCardinality(String)           COMMENT 'closed, failed or rejected_by_acl'                                 CODEC(ZSTD(1)),
    bytes_sent       UInt64                           COMMENT 'payload bytes, client to destination, of the whole session'        CODEC(T64, ZSTD(1)),
    bytes_received   UInt64                           COMMENT 'payload bytes, destination to client, of the whole session'        CODEC(T64, ZSTD(1)),
    packets_sent     UInt64                           COMMENT 'client to destination: datagrams for UDP, reads for TCP'           CODEC(T64, ZSTD(1)),
    packets_received UInt64                           COMMENT 'destination to client: datagrams for UDP, reads for TCP'           CODEC(T64, ZSTD(1)),
    duration_ms      Nullable(UInt64)                 COMMENT 'from start to end in milliseconds'                                 CODEC(T64, ZSTD(1)),
    version          UInt32                           COMMENT 'version of the row in sessions'                                    CODEC(T64, ZSTD(1))
)
ENGINE = ${engine:ReplacingMergeTree(version)}
PARTITION BY toMonday(started_at)
ORDER BY (ended_at, started_at, session_id)
SETTINGS index_granularity = 1024
COMMENT 'Ends of sessions in another hour than their start; doubtful where session_ends names the session';

${distributed:ended_sessions:cityHash64(session_id)};
