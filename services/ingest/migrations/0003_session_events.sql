-- The audit trail: every event as it came. Duplicates of (session_id, seq) are the same event.
-- Small parts are compact ones, as in 0001.
CREATE TABLE IF NOT EXISTS ${table:session_events}
(
    type             LowCardinality(String)           COMMENT 'SessionStarted, TrafficDelta or SessionClosed'                              CODEC(ZSTD(1)),
    schema_version   UInt16                           COMMENT 'version of the event contract'                                              CODEC(ZSTD(1)),
    occurred_at      DateTime64(3, 'UTC')             COMMENT 'when the proxy saw it'                                                      CODEC(Delta, ZSTD(1)),
    session_id       UUID                             COMMENT 'the session'                                                                CODEC(ZSTD(1)),
    seq              UInt32                           COMMENT '0, 1, 2 ... within the session'                                             CODEC(ZSTD(1)),
    proxy_id         LowCardinality(String)           COMMENT 'the proxy that served the session'                                          CODEC(ZSTD(1)),
    proxy_epoch      UInt64                           COMMENT 'start of that proxy process, milliseconds since 1970'                       CODEC(ZSTD(1)),
    started_at       DateTime64(3, 'UTC')             COMMENT 'start of the session'                                                       CODEC(Delta, ZSTD(1)),
    user             String                           COMMENT 'who asked'                                                                  CODEC(ZSTD(1)),
    source_ip        IPv6                             COMMENT 'address of the client; IPv4 is mapped'                                      CODEC(ZSTD(1)),
    source_port      UInt16                           COMMENT 'port of the client'                                                         CODEC(ZSTD(1)),
    dest_host        String                           COMMENT 'destination as asked'                                                       CODEC(ZSTD(1)),
    dest_ip          Nullable(IPv6)                   COMMENT 'address connected to, null where none; IPv4 is mapped'                      CODEC(ZSTD(1)),
    dest_port        UInt16                           COMMENT 'port of the destination'                                                    CODEC(ZSTD(1)),
    protocol         LowCardinality(String)           COMMENT 'tcp or udp'                                                                 CODEC(ZSTD(1)),
    command          LowCardinality(String)           COMMENT 'connect, bind or udp_associate'                                             CODEC(ZSTD(1)),
    auth_method      LowCardinality(String)           COMMENT 'none or password'                                                           CODEC(ZSTD(1)),
    acl_decision     LowCardinality(String)           COMMENT 'allow or block'                                                             CODEC(ZSTD(1)),
    acl_rule_matched LowCardinality(Nullable(String)) COMMENT 'name of the rule that decided, null where none'                             CODEC(ZSTD(1)),
    bytes_sent       UInt64                           COMMENT 'cumulative since the session began'                                         CODEC(ZSTD(1)),
    bytes_received   UInt64                           COMMENT 'cumulative since the session began'                                         CODEC(ZSTD(1)),
    packets_sent     UInt64                           COMMENT 'cumulative since the session began'                                         CODEC(ZSTD(1)),
    packets_received UInt64                           COMMENT 'cumulative since the session began'                                         CODEC(ZSTD(1)),
    interval_start   Nullable(DateTime64(3, 'UTC'))   COMMENT 'start of the interval that delta covers; null in SessionStarted'            CODEC(Delta, ZSTD(1)),
    interval_end     Nullable(DateTime64(3, 'UTC'))   COMMENT 'end of that interval, exclusive; null in SessionStarted'                    CODEC(Delta, ZSTD(1)),
    delta_bytes_sent        UInt64                    COMMENT 'within the interval; 0 in SessionStarted'                                   CODEC(ZSTD(1)),
    delta_bytes_received    UInt64                    COMMENT 'within the interval'                                                        CODEC(ZSTD(1)),
    delta_packets_sent      UInt64                    COMMENT 'within the interval'                                                        CODEC(ZSTD(1)),
    delta_packets_received  UInt64                    COMMENT 'within the interval'                                                        CODEC(ZSTD(1)),
    minute_bytes_sent       UInt64                    COMMENT 'cumulative within the UTC minute of the interval; 0 in SessionStarted'      CODEC(ZSTD(1)),
    minute_bytes_received   UInt64                    COMMENT 'cumulative within the UTC minute of the interval'                           CODEC(ZSTD(1)),
    minute_packets_sent     UInt64                    COMMENT 'cumulative within the UTC minute of the interval'                           CODEC(ZSTD(1)),
    minute_packets_received UInt64                    COMMENT 'cumulative within the UTC minute of the interval'                           CODEC(ZSTD(1)),
    ended_at         Nullable(DateTime64(3, 'UTC'))   COMMENT 'SessionClosed: when the session ended'                                      CODEC(Delta, ZSTD(1)),
    duration_ms      Nullable(UInt64)                 COMMENT 'SessionClosed: from start to end in milliseconds'                           CODEC(ZSTD(1)),
    status           LowCardinality(Nullable(String)) COMMENT 'SessionClosed: closed, failed or rejected_by_acl'                           CODEC(ZSTD(1)),
    close_reason     LowCardinality(Nullable(String)) COMMENT 'SessionClosed: who or what ended it'                                        CODEC(ZSTD(1)),
    error_code       LowCardinality(Nullable(String)) COMMENT 'SessionClosed: errno or SOCKS reply, null where none'                       CODEC(ZSTD(1)),
    connect_ms       Nullable(UInt64)                 COMMENT 'SessionClosed: time to connect in milliseconds, null where not connected'   CODEC(ZSTD(1)),
    ingested_at      DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when the database took this copy of the event; never sent by ingest'   CODEC(Delta, ZSTD(1)),
    -- The query service's live stream asks every second for the events that were stored since: of the
    -- parts that are there only those with recent rows need be looked into.
    INDEX ingested_minmax ingested_at TYPE minmax GRANULARITY 1
)
ENGINE = ${engine:ReplacingMergeTree}
PARTITION BY toDate(started_at)
ORDER BY (started_at, session_id, seq)
SETTINGS min_bytes_for_wide_part = 67108864
COMMENT 'Every event, for a session''s timeline and for rebuilding; read with FINAL';

${distributed:session_events:cityHash64(session_id)};
