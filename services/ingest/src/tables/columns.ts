/**
 * Which columns ingest writes into which table, in the order in which RowBinary carries them, and as
 * which type. The SQL in migrations/ must have these columns; others may have defaults. A start
 * compares the two (check-tables.ts).
 *
 * The order is chosen for copying: what `session_traffic_1m` needs of an event comes first, then the
 * rest of what `sessions` needs, so that a row of either is mostly one piece of the event's row.
 */

const COPIED_TO_TRAFFIC = {
  session_id: 'UUID',
  started_at: "DateTime64(3, 'UTC')",
  proxy_id: 'String',
  user: 'String',
  source_ip: 'IPv6',
  dest_host: 'String',
  dest_port: 'UInt16',
  protocol: 'String',
} as const;

const COPIED_TO_SESSIONS = {
  seq: 'UInt32',
  proxy_epoch: 'UInt64',
  source_port: 'UInt16',
  dest_ip: 'Nullable(IPv6)',
  command: 'String',
  auth_method: 'String',
  acl_decision: 'String',
  acl_rule_matched: 'Nullable(String)',
  bytes_sent: 'UInt64',
  bytes_received: 'UInt64',
  packets_sent: 'UInt64',
  packets_received: 'UInt64',
} as const;

const ENDING = {
  ended_at: "Nullable(DateTime64(3, 'UTC'))",
  duration_ms: 'Nullable(UInt64)',
  close_reason: 'Nullable(String)',
  error_code: 'Nullable(String)',
  connect_ms: 'Nullable(UInt64)',
} as const;

export const EVENT_COLUMNS = {
  type: 'String',
  schema_version: 'UInt16',
  occurred_at: "DateTime64(3, 'UTC')",
  ...COPIED_TO_TRAFFIC,
  ...COPIED_TO_SESSIONS,
  interval_start: "Nullable(DateTime64(3, 'UTC'))",
  interval_end: "Nullable(DateTime64(3, 'UTC'))",
  delta_bytes_sent: 'UInt64',
  delta_bytes_received: 'UInt64',
  delta_packets_sent: 'UInt64',
  delta_packets_received: 'UInt64',
  minute_bytes_sent: 'UInt64',
  minute_bytes_received: 'UInt64',
  minute_packets_sent: 'UInt64',
  minute_packets_received: 'UInt64',
  ...ENDING,
  status: 'Nullable(String)',
} as const;

export const SESSION_COLUMNS = {
  ...COPIED_TO_TRAFFIC,
  ...COPIED_TO_SESSIONS,
  ...ENDING,
  status: 'String',
  updated_at: "DateTime64(3, 'UTC')",
  version: 'UInt32',
} as const;

export const TRAFFIC_COLUMNS = {
  ...COPIED_TO_TRAFFIC,
  bucket: "DateTime('UTC')",
  bytes_sent: 'UInt64',
  bytes_received: 'UInt64',
  packets_sent: 'UInt64',
  packets_received: 'UInt64',
} as const;

/** Every table that a batch is written to. */
export const TABLE_COLUMNS = {
  sessions: SESSION_COLUMNS,
  sessions_by_user: SESSION_COLUMNS,
  sessions_by_destination: SESSION_COLUMNS,
  session_traffic_1m: TRAFFIC_COLUMNS,
  session_events: EVENT_COLUMNS,
} as const satisfies Record<string, Readonly<Record<string, string>>>;
