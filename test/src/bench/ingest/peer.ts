/**
 * The usual alternative: ClickHouse's own Kafka table engine, and materialized views that
 * keep the events, sum the deltas per session, and sum them per minute, user and destination.
 * (Repeated deliveries are counted twice by it; that is the price of the sum.)
 */
const COLUMNS = `
  type LowCardinality(String), schema_version UInt8, occurred_at DateTime64(3, 'UTC'), session_id UUID, seq UInt32,
  proxy_id LowCardinality(String), proxy_epoch UInt64, started_at DateTime64(3, 'UTC'), user String,
  source_ip IPv6, source_port UInt16, dest_host String, dest_ip Nullable(IPv6), dest_port UInt16,
  protocol LowCardinality(String), command LowCardinality(String), auth_method LowCardinality(String),
  acl_decision LowCardinality(String), acl_rule_matched LowCardinality(Nullable(String)),
  bytes_sent UInt64, bytes_received UInt64, packets_sent UInt64, packets_received UInt64,
  interval_start Nullable(DateTime64(3, 'UTC')), interval_end Nullable(DateTime64(3, 'UTC')),
  delta Tuple(bytes_sent UInt64, bytes_received UInt64, packets_sent UInt64, packets_received UInt64),
  minute Tuple(bytes_sent UInt64, bytes_received UInt64, packets_sent UInt64, packets_received UInt64),
  ended_at Nullable(DateTime64(3, 'UTC')), duration_ms Nullable(UInt64), status LowCardinality(Nullable(String)),
  close_reason LowCardinality(Nullable(String)), error_code LowCardinality(Nullable(String)), connect_ms Nullable(UInt64)`;

export function peerStatements(
  database: string,
  broker: string,
  topic: string,
  group: string,
): string[] {
  return [
    `CREATE DATABASE ${database} ENGINE = Atomic`,
    `CREATE TABLE ${database}.events (${COLUMNS}) ENGINE = MergeTree
      PARTITION BY toDate(started_at) ORDER BY (started_at, session_id, seq)`,
    `CREATE TABLE ${database}.sessions (
      session_id UUID, started_at DateTime64(3, 'UTC'),
      user SimpleAggregateFunction(any, String), source_ip SimpleAggregateFunction(any, IPv6),
      dest_host SimpleAggregateFunction(any, String), dest_port SimpleAggregateFunction(any, UInt16),
      proxy_id SimpleAggregateFunction(any, LowCardinality(String)),
      bytes_sent SimpleAggregateFunction(sum, UInt64), bytes_received SimpleAggregateFunction(sum, UInt64),
      packets_sent SimpleAggregateFunction(sum, UInt64), packets_received SimpleAggregateFunction(sum, UInt64),
      updated_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
      ended_at SimpleAggregateFunction(max, Nullable(DateTime64(3, 'UTC'))),
      close_reason SimpleAggregateFunction(anyLast, Nullable(String)))
      ENGINE = AggregatingMergeTree PARTITION BY toDate(started_at) ORDER BY (started_at, session_id)`,
    `CREATE TABLE ${database}.traffic_1m (
      bucket DateTime('UTC'), user String, dest_host String,
      bytes_sent UInt64, bytes_received UInt64, packets_sent UInt64, packets_received UInt64)
      ENGINE = SummingMergeTree PARTITION BY toDate(bucket) ORDER BY (bucket, user, dest_host)`,
    `CREATE TABLE ${database}.queue (${COLUMNS}) ENGINE = Kafka
      SETTINGS kafka_broker_list = '${broker}', kafka_topic_list = '${topic}', kafka_group_name = '${group}',
        kafka_format = 'JSONEachRow', kafka_num_consumers = 2, kafka_thread_per_consumer = 1,
        date_time_input_format = 'best_effort'`,
    `CREATE MATERIALIZED VIEW ${database}.to_sessions TO ${database}.sessions AS
      SELECT session_id, started_at, any(user) AS user, any(source_ip) AS source_ip, any(dest_host) AS dest_host,
        any(dest_port) AS dest_port, any(proxy_id) AS proxy_id, sum(delta.bytes_sent) AS bytes_sent,
        sum(delta.bytes_received) AS bytes_received, sum(delta.packets_sent) AS packets_sent,
        sum(delta.packets_received) AS packets_received, max(occurred_at) AS updated_at,
        max(ended_at) AS ended_at, anyLast(close_reason) AS close_reason
      FROM ${database}.queue GROUP BY session_id, started_at`,
    `CREATE MATERIALIZED VIEW ${database}.to_traffic TO ${database}.traffic_1m AS
      SELECT toStartOfMinute(assumeNotNull(interval_start)) AS bucket, user, dest_host,
        sum(delta.bytes_sent) AS bytes_sent, sum(delta.bytes_received) AS bytes_received,
        sum(delta.packets_sent) AS packets_sent, sum(delta.packets_received) AS packets_received
      FROM ${database}.queue WHERE interval_start IS NOT NULL GROUP BY bucket, user, dest_host`,
    // The last one: the engine begins to read with the first view.
    `CREATE MATERIALIZED VIEW ${database}.to_events TO ${database}.events AS SELECT * FROM ${database}.queue`,
  ];
}
