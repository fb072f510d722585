/** The content of the tables in the form of the oracle, so that the two can be compared directly. */
import { int64, isoTime } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { COUNTER_NAMES, fold } from '@sockscope/schemas';
import type { SessionEvent, SessionState } from '@sockscope/schemas';
import { LONG_SESSION_MS } from '@sockscope/schemas/sums';
import { expect } from 'vitest';
import { z } from 'zod';

const counters = {
  bytes_sent: int64,
  bytes_received: int64,
  packets_sent: int64,
  packets_received: int64,
};

const sessionRow = z.object({
  session_id: z.string(),
  seq: int64,
  proxy_id: z.string(),
  proxy_epoch: int64,
  started_at: isoTime,
  user: z.string(),
  source_ip: z.string(),
  source_port: int64,
  dest_host: z.string(),
  dest_ip: z.string().nullable(),
  dest_port: int64,
  egress_ip: z.string().nullable(),
  egress_port: int64.nullable(),
  protocol: z.string(),
  command: z.string(),
  auth_method: z.string(),
  acl_decision: z.string(),
  acl_rule_matched: z.string().nullable(),
  ...counters,
  status: z.string(),
  close_reason: z.string().nullable(),
  error_code: z.string().nullable(),
  connect_ms: int64.nullable(),
  assumed: z.int().transform((value) => value === 1),
  updated_at: isoTime,
  ended_at: isoTime.nullable(),
  duration_ms: int64.nullable(),
  version: int64,
});

const minuteRow = z.object({ session_id: z.string(), bucket: isoTime, ...counters });
const eventRow = z.object({ session_id: z.string(), seq: int64, type: z.string(), ...counters });

/** `::ffff:192.0.2.1` is how an IPv6 column shows IPv4. */
const unmapped = (column: string) =>
  `if(startsWith(toString(${column}), '::ffff:'), substring(toString(${column}), 8), toString(${column})) AS ${column}`;

const SESSION_TABLES = ['sessions', 'sessions_by_user', 'sessions_by_destination'] as const;

async function readSessions(clickhouse: ClickHouse, table: string) {
  const rows = await clickhouse.query({
    sql: `SELECT * REPLACE(${['source_ip', 'dest_ip', 'egress_ip'].map(unmapped).join(', ')}) FROM ${table} FINAL`,
    row: sessionRow,
  });
  return new Map(rows.map((row) => [row.session_id, row]));
}

/** Rows as they lie there, before anything is merged: for proving that something came twice. */
export async function countRows(clickhouse: ClickHouse, table: string): Promise<number> {
  const [row] = await clickhouse.query({
    sql: 'SELECT count() AS n FROM {table:Identifier}',
    params: { table },
    row: z.object({ n: int64 }),
  });
  return row?.n ?? 0;
}

/** Every table holds exactly the fold of these events: nothing is missing, nothing is too much. */
export async function expectTablesEqualFold(
  clickhouse: ClickHouse,
  events: Iterable<SessionEvent>,
): Promise<void> {
  const all = [...events];
  const states: Map<string, SessionState> = fold(all);
  const rows = new Map([...states].map(([id, { row }]) => [id, row]));
  for (const table of SESSION_TABLES) {
    expect(await readSessions(clickhouse, table), table).toEqual(rows);
  }

  const isLong = ({ started_at, updated_at }: z.infer<typeof sessionRow>) =>
    Date.parse(updated_at) - Date.parse(started_at) >= LONG_SESSION_MS;
  expect(await readSessions(clickhouse, 'long_sessions'), 'long_sessions').toEqual(
    new Map([...rows].filter(([, row]) => row !== null && isLong(row))),
  );

  const minutes = new Map<string, object>();
  for (const [id, state] of states) {
    for (const [bucket, sums] of state.minutes) minutes.set(`${id} ${bucket}`, sums);
  }
  const minuteRows = await clickhouse.query({
    sql: `SELECT session_id, bucket, ${COUNTER_NAMES.join(', ')} FROM session_traffic_1m FINAL`,
    row: minuteRow,
  });
  expect(
    new Map(minuteRows.map(({ session_id, bucket, ...sums }) => [`${session_id} ${bucket}`, sums])),
  ).toEqual(minutes);

  const eventRows = await clickhouse.query({
    sql: `SELECT session_id, seq, type, ${COUNTER_NAMES.join(', ')} FROM session_events FINAL`,
    row: eventRow,
  });
  const keyed = (list: readonly z.infer<typeof eventRow>[]) =>
    new Map(list.map((each) => [`${each.session_id}/${each.seq}`, each]));
  expect(eventRows.length, 'session_events').toBe(keyed(eventRows).size);
  expect(keyed(eventRows)).toEqual(keyed(all.map((event) => eventRow.parse(event))));
}
