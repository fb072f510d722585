import { isZero, maxCounters, minuteOf, namesIn, rowOf, toTimestamp } from '@sockscope/schemas';
import type { Counters, SessionEvent, SessionRow } from '@sockscope/schemas';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { ENDED_FIELDS, floorTo, isLong, SLICE_MS } from '@sockscope/schemas/sums';

const SESSION_TABLES = ['sessions', 'sessions_by_user', 'sessions_by_destination'] as const;

type Row = Readonly<Record<string, unknown>>;

/** Inserts rows as one part per table and partition. */
export async function insertRows(
  clickhouse: ClickHouse,
  table: string,
  rows: readonly Row[],
): Promise<void> {
  const [first] = rows;
  if (first === undefined) return;
  const columns = Object.keys(first);
  await clickhouse.insert({
    table,
    columns,
    format: 'JSONCompactEachRow',
    bytes: rows.map((row) => Buffer.from(`${JSON.stringify(columns.map((name) => row[name]))}\n`)),
    settings: { date_time_input_format: 'best_effort' },
  });
}

/** Writes one batch of events into the tables, as the ingest service does. */
export async function insertBatch(
  clickhouse: ClickHouse,
  events: readonly SessionEvent[],
): Promise<void> {
  const newest = new Map<string, SessionRow>();
  const minutes = new Map<string, { event: SessionEvent; bucket: string; counters: Counters }>();
  for (const event of events) {
    const known = newest.get(event.session_id);
    const row = rowOf(event);
    if (known === undefined || known.version < row.version) newest.set(event.session_id, row);
    if (event.type === 'SessionStarted' || isZero(event.minute)) continue;
    const bucket = toTimestamp(minuteOf(Date.parse(event.interval_start)));
    const key = `${event.session_id} ${bucket}`;
    const before = minutes.get(key)?.counters;
    const counters = before === undefined ? event.minute : maxCounters(before, event.minute);
    minutes.set(key, { event, bucket, counters });
  }
  const traffic = [...minutes.values()].map(({ event, bucket, counters }) => ({
    bucket,
    user: event.user,
    dest_host: event.dest_host,
    session_id: event.session_id,
    started_at: event.started_at,
    proxy_id: event.proxy_id,
    source_ip: event.source_ip,
    dest_port: event.dest_port,
    protocol: event.protocol,
    ...counters,
  }));
  await Promise.all([
    insertSessions(clickhouse, [...newest.values()]),
    insertRows(clickhouse, 'session_traffic_1m', traffic),
    insertRows(clickhouse, 'session_events', events.map(eventRow)),
  ]);
}

/** Writes sessions into all of their tables. */
export async function insertSessions(
  clickhouse: ClickHouse,
  rows: readonly SessionRow[],
): Promise<void> {
  // Ends in another slice than the start.
  const elsewhere = rows.filter(
    (row) =>
      row.ended_at !== null &&
      floorTo(Date.parse(row.ended_at), SLICE_MS) !== floorTo(Date.parse(row.started_at), SLICE_MS),
  );
  await Promise.all([
    ...SESSION_TABLES.map((table) => insertRows(clickhouse, table, rows)),
    insertRows(clickhouse, 'long_sessions', rows.filter(isLong)),
    insertRows(clickhouse, 'ended_sessions', elsewhere.map(endedRow)),
    insertRows(clickhouse, 'session_ends', elsewhere.filter(isDoubtful).map(endRow)),
  ]);
}

function endedRow(row: SessionRow): Row {
  const names = ['ended_at', 'version', ...ENDED_FIELDS] as const;
  return Object.fromEntries(names.map((name) => [name, row[name]]));
}

function endRow({ ended_at, started_at, session_id }: SessionRow): Row {
  return { ended_at, started_at, session_id };
}

/** Every end that may be replaced is doubtful; here every other one too, so that both are read. */
function isDoubtful({ assumed, session_id: id }: SessionRow): boolean {
  return assumed || Number.parseInt(id.slice(-1), 16) % 2 === 0;
}

const COMMON = namesIn('envelope', 'identity', 'origin', 'header', 'totals');

function eventRow(event: SessionEvent): Row {
  const interval = event.type === 'SessionStarted' ? null : event;
  const closed = event.type === 'SessionClosed' ? event : null;
  return {
    ...Object.fromEntries(COMMON.map((name) => [name, event[name]])),
    interval_start: interval?.interval_start ?? null,
    interval_end: interval?.interval_end ?? null,
    delta_bytes_sent: interval?.delta.bytes_sent ?? 0,
    delta_bytes_received: interval?.delta.bytes_received ?? 0,
    delta_packets_sent: interval?.delta.packets_sent ?? 0,
    delta_packets_received: interval?.delta.packets_received ?? 0,
    minute_bytes_sent: interval?.minute.bytes_sent ?? 0,
    minute_bytes_received: interval?.minute.bytes_received ?? 0,
    minute_packets_sent: interval?.minute.packets_sent ?? 0,
    minute_packets_received: interval?.minute.packets_received ?? 0,
    ended_at: closed?.ended_at ?? null,
    duration_ms: closed?.duration_ms ?? null,
    status: closed?.status ?? null,
    close_reason: closed?.close_reason ?? null,
    error_code: closed?.error_code ?? null,
    connect_ms: closed?.connect_ms ?? null,
    assumed: closed?.assumed === true ? 1 : 0,
  };
}
