-- What each session moved in each UTC minute: the maximum of the cumulative readings of that minute,
-- so that neither order nor repetition of events changes it. A minute without traffic has no row.
--
-- The columns marked any never change within a session, so any of its rows has the right value.
CREATE TABLE IF NOT EXISTS ${table:session_traffic_1m}
(
    bucket           DateTime('UTC')                                              COMMENT 'start of the UTC minute'                                                  CODEC(Delta, ZSTD(1)),
    user             String                                                       COMMENT 'who asked'                                                                CODEC(ZSTD(1)),
    dest_host        String                                                       COMMENT 'destination as asked'                                                     CODEC(ZSTD(1)),
    session_id       UUID                                                         COMMENT 'the session'                                                              CODEC(ZSTD(1)),
    started_at       SimpleAggregateFunction(any, DateTime64(3, 'UTC'))           COMMENT 'start of the session'                                                     CODEC(Delta, ZSTD(1)),
    proxy_id         SimpleAggregateFunction(any, LowCardinality(String))         COMMENT 'the proxy that served the session'                                        CODEC(ZSTD(1)),
    source_ip        SimpleAggregateFunction(any, IPv6)                           COMMENT 'address of the client; IPv4 is mapped'                                    CODEC(ZSTD(1)),
    dest_port        SimpleAggregateFunction(any, UInt16)                         COMMENT 'port of the destination'                                                  CODEC(ZSTD(1)),
    protocol         SimpleAggregateFunction(any, LowCardinality(String))         COMMENT 'tcp or udp'                                                               CODEC(ZSTD(1)),
    bytes_sent       SimpleAggregateFunction(max, UInt64)                         COMMENT 'payload bytes, client to destination, within the minute'                  CODEC(T64, ZSTD(1)),
    bytes_received   SimpleAggregateFunction(max, UInt64)                         COMMENT 'payload bytes, destination to client, within the minute'                  CODEC(T64, ZSTD(1)),
    packets_sent     SimpleAggregateFunction(max, UInt64)                         COMMENT 'client to destination within the minute: datagrams, or reads of a TCP socket' CODEC(T64, ZSTD(1)),
    packets_received SimpleAggregateFunction(max, UInt64)                         COMMENT 'destination to client within the minute: datagrams, or reads of a TCP socket' CODEC(T64, ZSTD(1))
)
ENGINE = ${engine:AggregatingMergeTree}
PARTITION BY toDate(bucket)
ORDER BY (bucket, user, dest_host, session_id)
COMMENT 'Exact traffic per session and minute; read with FINAL';

${distributed:session_traffic_1m:cityHash64(session_id)};
