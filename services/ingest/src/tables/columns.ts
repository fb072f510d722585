/**
 * Which columns ingest writes into which table, and as which type. The SQL in migrations/ must have
 * these columns; others may have defaults. A start compares the two (check-tables.ts).
 */
import {
  ACL_DECISIONS,
  AUTH_METHODS,
  CLOSE_REASONS,
  COMMANDS,
  FINAL_STATUSES,
  PROTOCOLS,
  SESSION_EVENT_TYPES,
} from '../decode/event-view.js';
import {
  ChoiceColumn,
  DictionaryColumn,
  Ipv6Column,
  NullableColumn,
  TextColumn,
  Uint16Column,
  Uint32Column,
  Uint64Column,
  UuidColumn,
} from './native.js';
import type { Column } from './native.js';

const uint64 = () => new Uint64Column('UInt64');
const milliseconds = () => new Uint64Column("DateTime64(3, 'UTC')");
/** Stands before the choices of a nullable column. */
const NULL = '';

/** The same in `session_traffic_1m`, `sessions` and `session_events`. */
const copiedToTraffic = () => ({
  session_id: new UuidColumn(),
  started_at: milliseconds(),
  proxy_id: new DictionaryColumn(),
  user: new TextColumn(),
  source_ip: new Ipv6Column(),
  dest_host: new TextColumn(),
  dest_port: new Uint16Column(),
  protocol: new ChoiceColumn(PROTOCOLS),
});

/** The same in `sessions` and `session_events`. */
const copiedToSessions = () => ({
  seq: new Uint32Column('UInt32'),
  proxy_epoch: uint64(),
  source_port: new Uint16Column(),
  dest_ip: new NullableColumn(new Ipv6Column()),
  command: new ChoiceColumn(COMMANDS),
  auth_method: new ChoiceColumn(AUTH_METHODS),
  acl_decision: new ChoiceColumn(ACL_DECISIONS),
  acl_rule_matched: new DictionaryColumn(true),
  bytes_sent: uint64(),
  bytes_received: uint64(),
  packets_sent: uint64(),
  packets_received: uint64(),
  ended_at: new NullableColumn(milliseconds()),
  duration_ms: new NullableColumn(uint64()),
  close_reason: new ChoiceColumn([NULL, ...CLOSE_REASONS], true),
  error_code: new DictionaryColumn(true),
  connect_ms: new NullableColumn(uint64()),
});

export const eventColumns = () => ({
  type: new ChoiceColumn(SESSION_EVENT_TYPES),
  schema_version: new Uint16Column(),
  occurred_at: milliseconds(),
  ...copiedToTraffic(),
  ...copiedToSessions(),
  interval_start: new NullableColumn(milliseconds()),
  interval_end: new NullableColumn(milliseconds()),
  delta_bytes_sent: uint64(),
  delta_bytes_received: uint64(),
  delta_packets_sent: uint64(),
  delta_packets_received: uint64(),
  minute_bytes_sent: uint64(),
  minute_bytes_received: uint64(),
  minute_packets_sent: uint64(),
  minute_packets_received: uint64(),
  status: new ChoiceColumn([NULL, ...FINAL_STATUSES], true),
});

export const sessionColumns = () => ({
  ...copiedToTraffic(),
  ...copiedToSessions(),
  /** Of an event without a status, which stands first there too, the session is active. */
  status: new ChoiceColumn(['active', ...FINAL_STATUSES]),
  updated_at: milliseconds(),
  version: new Uint32Column('UInt32'),
});

export const trafficColumns = () => ({
  ...copiedToTraffic(),
  bucket: new Uint32Column("DateTime('UTC')"),
  bytes_sent: uint64(),
  bytes_received: uint64(),
  packets_sent: uint64(),
  packets_received: uint64(),
});

/** The columns that a row of `session_traffic_1m` has from any event of its session. */
export const COPIED_TO_TRAFFIC = namesOf(copiedToTraffic());
/** The columns that a row of `sessions` has from its newest event. */
export const COPIED_TO_SESSIONS = [...COPIED_TO_TRAFFIC, ...namesOf(copiedToSessions())] as const;

function namesOf<C extends object>(columns: C): (keyof C)[] {
  return Object.keys(columns) as (keyof C)[];
}

function typesOf(columns: Readonly<Record<string, Column>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(columns).map(([name, { type }]) => [name, type]));
}

/** Names and types. */
export const EVENT_COLUMNS = typesOf(eventColumns());
export const SESSION_COLUMNS = typesOf(sessionColumns());
export const TRAFFIC_COLUMNS = typesOf(trafficColumns());

/** Every table that a batch is written to. */
export const TABLE_COLUMNS = {
  sessions: SESSION_COLUMNS,
  sessions_by_user: SESSION_COLUMNS,
  sessions_by_destination: SESSION_COLUMNS,
  session_traffic_1m: TRAFFIC_COLUMNS,
  session_events: EVENT_COLUMNS,
} as const satisfies Record<string, Readonly<Record<string, string>>>;
