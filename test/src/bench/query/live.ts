import { get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { cpuSeconds } from '../ingest/measure.js';
import type { Stack } from './stack.js';

/** The load of the live view. */
export interface LiveShape {
  readonly viewers: number;
  readonly views: number;
  readonly open: number;
  readonly eventsPerSecond: number;
  readonly seconds: number;
}

export interface LiveResult {
  readonly shape: LiveShape;
  /** CPU seconds per second of query and ClickHouse together while the events are stored, nobody watching. */
  readonly idleCores: number;
  /** The same with all viewers. */
  readonly watchedCores: number;
  /** Frames that each viewer gets. */
  readonly framesPerSecond: number;
  /** Time from one frame to the next, by the last frames. */
  readonly everyMs: number;
  /** Open sessions in the last frames. */
  readonly total: number;
}

const INSERTS_PER_SECOND = 2;
const WARM_UP_MS = 5_000;
const EVENT_COLUMNS =
  'type, seq, occurred_at, session_id, proxy_id, proxy_epoch, started_at, user, source_ip, source_port, dest_host, dest_port, protocol, command, auth_method, acl_decision, bytes_sent, bytes_received, packets_sent, packets_received';

/** Identity and header of open session `n`, which began at {started_ms}. */
const OPEN_SQL = `
    reinterpretAsUUID(bitOr(
        bitShiftLeft(toUInt128(bitOr(bitAnd(sipHash64(n, 31), 0x3FFFFFFFFFFFFFFF), 0x8000000000000000)), 64),
        toUInt128(bitOr(bitShiftLeft(toUInt64({started_ms:Int64}), 16), 0x7000))
    )) AS session_id,
    concat('proxy-', toString(n % 8)) AS proxy_id, toUInt64(1) AS proxy_epoch,
    fromUnixTimestamp64Milli({started_ms:Int64}, 'UTC') AS started_at,
    concat('user-', toString(n % 5000)) AS user, toIPv6(IPv4NumToString(toUInt32(167772160 + n % 60000))) AS source_ip,
    toUInt16(1024 + n % 60000) AS source_port, concat('host-', toString(n % 2000), '.example') AS dest_host,
    toUInt16(if(n % 5 = 0, 80, 443)) AS dest_port, if(n % 20 = 0, 'udp', 'tcp') AS protocol,
    'connect' AS command, 'password' AS auth_method, 'allow' AS acl_decision`;

/**
 * Measures the live view: many sessions are open, each reports in turn, and viewers of several views watch.
 * The cost of storing the events is measured alone first.
 */
export async function measureLive(stack: Stack, shape: LiveShape): Promise<LiveResult> {
  const startedMs = Date.now();
  await openSessions(stack.clickhouse, shape, startedMs);
  const feed = startFeed(stack.clickhouse, shape, startedMs);
  try {
    await delay(WARM_UP_MS);
    const idleCores = await coresOver(stack, shape.seconds * 1_000);
    const viewers = Array.from({ length: shape.viewers }, (_, n) =>
      watch(`${stack.apiAsShipped.base}/api/v1/stream/active?${viewOf(n % shape.views)}`),
    );
    await delay(WARM_UP_MS);
    const before = viewers.map(({ frames }) => frames());
    const watchedCores = await coresOver(stack, shape.seconds * 1_000);
    const seen = viewers.map(({ frames }, i) => frames() - (before[i] ?? 0));
    const last = viewers.map(({ lastFrame }) => lastFrame());
    for (const { stop } of viewers) stop();
    return {
      shape,
      idleCores,
      watchedCores,
      framesPerSecond: Math.min(...seen) / shape.seconds,
      everyMs: Math.max(...last.map(({ every_ms }) => every_ms)),
      total: Math.max(...last.map(({ total }) => total)),
    };
  } finally {
    await feed.stop();
  }
}

/** Views that differ in order and filter. */
function viewOf(n: number): string {
  const sorts = ['rate', 'bytes', 'started_at', 'duration_ms'];
  const filters = ['', '&protocol=tcp', '&dest_port=443', '&proxy_id=proxy-3', '&user=user-17'];
  return `limit=100&sort=${sorts[n % sorts.length]}${filters[Math.floor(n / sorts.length) % filters.length]}`;
}

async function coresOver({ pids }: Stack, ms: number): Promise<number> {
  const cpuNow = () => cpuSeconds(pids.clickhouse) + cpuSeconds(pids.query);
  const [before, begun] = [cpuNow(), performance.now()];
  await delay(ms);
  return ((cpuNow() - before) * 1_000) / (performance.now() - begun);
}

async function openSessions(
  clickhouse: ClickHouse,
  { open }: LiveShape,
  startedMs: number,
): Promise<void> {
  await clickhouse.command({
    sql: `INSERT INTO sessions (session_id, proxy_id, proxy_epoch, started_at, user, source_ip, source_port,
        dest_host, dest_port, protocol, command, auth_method, acl_decision, seq, status, updated_at, version)
      SELECT ${OPEN_SQL}, 0, 'active', started_at, 0 FROM (SELECT number AS n FROM numbers({open:UInt64}))`,
    params: { started_ms: startedMs, open },
  });
}

/** Stores events as ingest does: some inserts a second, each session in turn. */
function startFeed(clickhouse: ClickHouse, shape: LiveShape, startedMs: number) {
  const rows = Math.round(shape.eventsPerSecond / INSERTS_PER_SECOND);
  let sent = 0;
  let isOver = false;
  async function run(): Promise<void> {
    const begun = performance.now();
    for (let i = 1; !isOver; i += 1) {
      await clickhouse.command({
        sql: `INSERT INTO session_events (${EVENT_COLUMNS})
          SELECT 'TrafficDelta', toUInt32(1 + intDiv(i, {open:UInt64})), now64(3), ${OPEN_SQL},
            i * 1000 + n, i * 3000 + n * 7, intDiv(i, 10), intDiv(i, 10)
          FROM (SELECT number AS i, number % {open:UInt64} AS n FROM numbers({from:UInt64}, {rows:UInt64}))`,
        params: { started_ms: startedMs, open: shape.open, from: sent, rows },
      });
      sent += rows;
      await delay(Math.max(0, begun + (i * 1_000) / INSERTS_PER_SECOND - performance.now()));
    }
  }
  const running = run();
  return {
    async stop() {
      isOver = true;
      await running;
    },
  };
}

interface Frame {
  readonly every_ms: number;
  readonly total: number;
}

/** Reads a stream of frames and keeps the last one as text. */
function watch(url: string) {
  let frames = 0;
  let rest = '';
  let last = '';
  const request = get(url, { agent: false }, (response) => {
    if (response.statusCode !== 200) throw new Error(`${url}: ${response.statusCode}`);
    response.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        if (!part.includes('event: window')) continue;
        frames += 1;
        last = part;
      }
    });
    response.on('error', () => undefined);
  });
  request.on('error', () => undefined);
  return {
    frames: () => frames,
    lastFrame: (): Frame => {
      const data = last.split('\n').find((line) => line.startsWith('data: '));
      if (data === undefined) throw new Error(`${url}: no frame came`);
      return JSON.parse(data.slice('data: '.length)) as Frame;
    },
    stop: () => request.destroy(),
  };
}
