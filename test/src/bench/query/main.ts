/**
 * `npm run bench:query`: every question through HTTP against the real query service on generated data,
 * the same questions to SQLite, and a mixed load. Prints a table and writes JSON to test/bench/results/.
 *
 * Longer than 400 lines: one run is read from top to bottom, from the data to the result.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { arch, cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { DataShape } from './generate.js';
import { createHttpClient, openLoop, quantile } from './http.js';
import type { HttpClient, Load } from './http.js';
import { drawn, inTurn, MIX, QUESTIONS } from './questions.js';
import type { Question, Subject } from './questions.js';
import { startSqlitePeer } from './sqlite-peer.js';
import type { Loaded } from './sqlite-peer.js';
import { startStack } from './stack.js';
import type { Stack } from './stack.js';

const HELP = `npm run bench:query -- [options]

  --sessions A,B     sizes, each measured in turn (default 10000000; the targets are for 100000000)
  --data DIR         keep the generated data there, in a folder per size, and use it again
  --requests N       requests per question (default 40)
  --rate N           requests a second of the mixed load (default 500)
  --seconds N        its length (default 15)
  --no-peer          leave SQLite out
  --out FILE         JSON results (default test/bench/results/query.json)
  --help

Example: npm run bench:query -- --sessions 1000000 --no-peer
`;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    sessions: { type: 'string', default: '10000000' },
    data: { type: 'string', default: '' },
    requests: { type: 'string', default: '40' },
    rate: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '15' },
    peer: { type: 'boolean', default: true },
    out: {
      type: 'string',
      default: fileURLToPath(new URL('../../../bench/results/query.json', import.meta.url)),
    },
    help: { type: 'boolean', default: false },
  },
});

const SHAPE = { days: 30, users: 20_000, destinations: 50_000, active: 10_000 };
const WARM_UP = 5;
const SLOW_REPEATS = 3;
/** The most sessions that SQLite gets: loading them takes minutes. */
const PEER_SESSIONS_MAX = 10_000_000;
const MIX_P99_TARGET_MS = 200;
/** Requests a second that are tried one after the other, to find the highest rate that the machine keeps up with. */
const MIX_RATES = [25, 50, 75, 100, 150, 200, 250, 300, 400];
const MIX_RATE_SECONDS = 6;

interface Measured {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly rowsRead: number;
}

interface SizeResult {
  readonly sessions: number;
  readonly bytesPerSession: Readonly<Record<string, number>>;
  /** `SELECT 1` to ClickHouse through the same client, to compare all figures with. */
  readonly selectOne: Measured;
  readonly questions: Readonly<Record<string, Measured>>;
  readonly mixed: Load;
  /**
   * The highest of MIX_RATES at which all are answered within the target; null if there is none.
   */
  readonly keptUpWith: { readonly rate: number; readonly p99Ms: number } | null;
}

interface PeerResult {
  readonly loaded: Loaded;
  readonly p50Ms: Readonly<Record<string, number>>;
}

/** Progress goes to standard error, results to standard output. */
const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  say(`--${name} must be a whole number above 0, not ${text}`);
  process.exit(2);
}

async function getJson<T>(api: HttpClient, path: string): Promise<T> {
  const { status, body } = await api.get(`/api/v1/${path}`);
  if (status !== 200) throw new Error(`${path}: ${status} ${body.slice(0, 500)}`);
  return JSON.parse(body) as T;
}

interface Page {
  readonly items: readonly { readonly session_id: string }[];
  readonly next_cursor: string | null;
}

/** The subjects of questions: ids from all over the range, and a cursor 100,000 rows below the newest. */
interface Known {
  readonly sessionIds: readonly string[];
  readonly deepCursor: string;
}

const IDS_AT_A_TIME = 25;

async function known(stack: Stack, count: number): Promise<Known> {
  const { shape, api } = stack;
  let deepCursor = '';

  for (let page = 0; page < 100; page += 1) {
    const cursor: string = deepCursor === '' ? '' : `&cursor=${encodeURIComponent(deepCursor)}`;
    deepCursor = (await getJson<Page>(api, `sessions?limit=1000${cursor}`)).next_cursor ?? '';
  }
  const sessionIds: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const before = new Date(shape.nowMs - ((n + 0.5) / count) * shape.days * 86_400_000);
    const page = await getJson<Page>(
      api,
      `sessions?limit=${IDS_AT_A_TIME}&to=${before.toISOString()}`,
    );
    sessionIds.push(...page.items.map((item) => item.session_id));
  }
  return { sessionIds, deepCursor };
}

/** Rows that ClickHouse has read for the query service until now, by its own metric. */
async function rowsRead(ops: HttpClient): Promise<number> {
  const { body } = await ops.get('/metrics');
  return body
    .split('\n')
    .filter((line) => line.startsWith('sockscope_query_sql_rows_read_total{'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

async function measure(
  stack: Stack,
  question: Question,
  about: readonly Subject[],
): Promise<Measured> {
  const times: number[] = [];

  for (const subject of about.slice(0, WARM_UP)) await getJson(stack.api, question.path(subject));
  const before = await rowsRead(stack.ops);
  for (const subject of about) {
    const path = question.path(subject);
    const { status, ms, body } = await stack.api.get(`/api/v1/${path}`);
    if (status !== 200) throw new Error(`${path}: ${status} ${body.slice(0, 500)}`);
    times.push(ms);
  }
  const rows = (await rowsRead(stack.ops)) - before;
  return {
    p50Ms: quantile(times, 0.5),
    p95Ms: quantile(times, 0.95),
    rowsRead: Math.round(rows / about.length),
  };
}

/** The cost of a statement that reads nothing. */
async function measureSelectOne(stack: Stack, count: number): Promise<Measured> {
  const client = createHttpClient(stack.clickhouseUrl);
  const times: number[] = [];
  for (let n = 0; n < WARM_UP + count; n += 1) {
    const { status, ms } = await client.get('/?query=SELECT%201');
    if (status !== 200) throw new Error(`SELECT 1: ${status}`);
    if (n >= WARM_UP) times.push(ms);
  }
  client.close();
  return { p50Ms: quantile(times, 0.5), p95Ms: quantile(times, 0.95), rowsRead: 1 };
}

/** The questions of the mix in an order that repeats every 100 requests. */
function mixOrder(): { readonly question: Question; readonly shared: boolean }[] {
  const all = MIX.flatMap(({ name, weight, shared = false }) => {
    const question = QUESTIONS.find((each) => each.name === name);
    if (question === undefined) throw new Error(`no question ${name}`);
    return Array.from({ length: weight }, () => ({ question, shared }));
  });
  // A stride that shares no factor with the length visits each once.
  return all
    .map((_, i) => all[(i * 37) % all.length] ?? all[0])
    .filter((each) => each !== undefined);
}

async function bytesPerSession(stack: Stack): Promise<Record<string, number>> {
  const response = await fetch(stack.clickhouseUrl, {
    method: 'POST',
    body: `SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = '${stack.clickhouse.database}' GROUP BY table FORMAT JSONCompact`,
  });
  // As text: ClickHouse writes integers that a number of JSON could not hold exactly.
  const { data } = (await response.json()) as { data: [string, string][] };
  return Object.fromEntries(data.map(([table, bytes]) => [table, bytesEach(bytes, stack.shape)]));
}

function bytesEach(bytes: string, shape: DataShape): number {
  return Math.round((Number(bytes) / shape.sessions) * 10) / 10;
}

type SubjectOf = (of: Pick<Subject, 'n' | 'rank' | 'shiftMs'>) => Subject;

/** As a day of users and dashboards would ask, `rate` times a second. */
function mixedLoad(
  stack: Stack,
  subject: SubjectOf,
  { rate, seconds, first = 0 }: { rate: number; seconds: number; first?: number },
): Promise<Load> {
  const order = mixOrder();
  return openLoop(stack.apiAsShipped, rate, seconds, (i) => {
    const n = first + i;
    const next = order[n % order.length];
    if (next === undefined) throw new Error('nothing to ask');
    const { question, shared } = next;
    return `/api/v1/${question.path(subject(drawn(shared ? Math.floor(n / rate) : n)))}`;
  });
}

/** Tries rates until one is too high. Each goes on in the order of requests where the one before ended. */
async function ratesKept(stack: Stack, subject: SubjectOf): Promise<SizeResult['keptUpWith']> {
  let kept: SizeResult['keptUpWith'] = null;
  let first = 0;
  for (const rate of MIX_RATES) {
    const load = await mixedLoad(stack, subject, { rate, seconds: MIX_RATE_SECONDS, first });
    say(`  ${rate} a second: p99 ${load.p99Ms.toFixed(0)} ms, ${load.failures} failed`);
    if (load.failures > 0 || load.p99Ms > MIX_P99_TARGET_MS) break;
    kept = { rate, p99Ms: load.p99Ms };
    first += load.requests;
  }
  return kept;
}

async function runSize(
  dir: string,
  sessions: number,
  onSize: (size: SizeResult) => void,
): Promise<PeerResult | null> {
  const stack = await startStack(join(dir, String(sessions)), { ...SHAPE, sessions }, say);
  try {
    say('looking for subjects of questions');
    const count = wholeNumber('requests', values.requests);
    const { sessionIds, deepCursor } = await known(stack, count);
    const subject = (of: Pick<Subject, 'n' | 'rank' | 'shiftMs'>): Subject => ({
      ...of,
      shape: stack.shape,
      deepCursor,
      // A stride that shares no factor with the length visits each.
      sessionId: sessionIds[(of.n * 7_919) % sessionIds.length] ?? '',
    });
    const about = Array.from({ length: count }, (_, n) => subject(inTurn(n)));
    const selectOne = await measureSelectOne(stack, count);
    say(`  SELECT 1: ${selectOne.p50Ms.toFixed(1)} ms`);
    const questions: Record<string, Measured> = {};

    for (const question of QUESTIONS) {
      const measured = await measure(stack, question, about);
      questions[question.name] = measured;
      say(`  ${question.name}: ${measured.p50Ms.toFixed(1)} ms, ${measured.rowsRead} rows`);
    }
    say('mixed load');
    const keptUpWith = await ratesKept(stack, subject);
    const mixed = await mixedLoad(stack, subject, {
      rate: wholeNumber('rate', values.rate),
      seconds: wholeNumber('seconds', values.seconds),
    });
    const size = {
      sessions,
      bytesPerSession: await bytesPerSession(stack),
      selectOne,
      questions,
      mixed,
      keptUpWith,
    };
    onSize(size);
    return sessions <= PEER_SESSIONS_MAX && values.peer ? await runPeer(dir, stack, about) : null;
  } finally {
    await stack.stop();
  }
}

/** The columns of sqlite-peer.py. */
const PEER_ROWS = `SELECT session_id, user, toUnixTimestamp64Milli(started_at), toUnixTimestamp64Milli(ended_at), duration_ms,
  toString(source_ip), dest_host, dest_port, protocol, status, close_reason, bytes_sent, bytes_received, packets_sent, packets_received
  FROM sockscope.sessions FINAL ORDER BY started_at, session_id FORMAT TabSeparated`;

async function runPeer(
  dir: string,
  stack: Stack,
  about: readonly Subject[],
): Promise<PeerResult | null> {
  const file = join(dir, `sqlite-${process.pid}.db`);
  const peer = startSqlitePeer(file);
  if (peer === null) {
    say(
      'SQLite is left out: it needs python3 with its sqlite3 module (Debian: apt-get install python3)',
    );
    return null;
  }
  try {
    say('loading the same sessions into SQLite');
    const response = await fetch(stack.clickhouseUrl, { method: 'POST', body: PEER_ROWS });
    if (!response.ok || response.body === null) throw new Error(await response.text());
    const loaded = await peer.load(response.body);
    say(
      `  ${loaded.rows} rows in ${loaded.seconds.toFixed(0)} s, ${(loaded.bytes / loaded.rows).toFixed(0)} bytes each`,
    );
    const p50Ms: Record<string, number> = {};

    for (const question of QUESTIONS) {
      const times: number[] = [];
      for (const subject of about) {
        const counterpart = question.sqlite(subject);
        if (counterpart === null || (counterpart.slow === true && times.length >= SLOW_REPEATS))
          break;
        times.push(await peer.ask(counterpart.sql, counterpart.params));
      }
      if (times.length > 0) p50Ms[question.name] = quantile(times, 0.5);
      say(`  ${question.name}: ${quantile(times, 0.5).toFixed(1)} ms`);
    }
    return { loaded, p50Ms };
  } finally {
    await peer.stop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
  }
}

function report(sizes: readonly SizeResult[], peer: PeerResult | null): void {
  const [first] = sizes;
  const last = sizes.at(-1);
  if (first === undefined || last === undefined) return;
  const rows = QUESTIONS.map(({ name, targetMs, growthMax }) => {
    const cells = sizes.flatMap(({ questions, selectOne }) => {
      const measured = questions[name];
      return measured === undefined
        ? ['', '', '', '']
        : [
            measured.p50Ms.toFixed(1),
            (measured.p50Ms / selectOne.p50Ms).toFixed(1),
            measured.p95Ms.toFixed(1),
            String(measured.rowsRead),
          ];
    });
    const value = last.questions[name]?.p50Ms ?? Number.NaN;
    const growth = value / (first.questions[name]?.p50Ms ?? Number.NaN);
    return [
      name,
      ...cells,
      sizes.length > 1
        ? `${growth.toFixed(2)}${growthMax !== null && growth > growthMax ? ' !' : ''}`
        : '',
      targetMs === null ? '' : `${targetMs}${value > targetMs ? ' !' : ''}`,
      peer?.p50Ms[name]?.toFixed(1) ?? '',
    ];
  });
  const head = [
    'question',
    ...sizes.flatMap(({ sessions }) => [
      `p50 ${sessions / 1e6}M`,
      '÷ SELECT 1',
      'p95',
      'rows read',
    ]),
    'growth',
    'target',
    'SQLite p50',
  ];
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const row of all) {
    process.stdout.write(
      `${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')}\n`,
    );
  }
  for (const { sessions, mixed, keptUpWith } of sizes) {
    process.stdout.write(
      `mixed load on ${sessions / 1e6}M: ${keptUpWith === null ? `p99 above ${MIX_P99_TARGET_MS} ms at ${MIX_RATES[0]} a second already` : `p99 ${keptUpWith.p99Ms.toFixed(0)} ms at ${keptUpWith.rate} a second, the next rate is too high`}\n`,
    );
    process.stdout.write(
      `mixed load on ${sessions / 1e6}M: ${mixed.perSecond.toFixed(0)} a second, p50 ${mixed.p50Ms.toFixed(1)} ms, p99 ${mixed.p99Ms.toFixed(1)} ms (target ${MIX_P99_TARGET_MS}), ${mixed.failures} of ${mixed.requests} failed\n`,
    );
  }
}

async function main(): Promise<void> {
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const sizes = values.sessions.split(',').map((text) => wholeNumber('sessions', text));
  const keeps = values.data !== '';
  const dir = keeps ? values.data : mkdtempSync(join(tmpdir(), 'sockscope-bench-query-'));
  const results: SizeResult[] = [];
  let peer: PeerResult | null = null;
  try {
    for (const sessions of sizes.toSorted((a, b) => a - b)) {
      const asked = await runSize(dir, sessions, (size) => {
        results.push(size);
        write(results, peer);
      });
      peer = asked ?? peer;
    }
  } finally {
    if (!keeps) rmSync(dir, { recursive: true, force: true });
  }
  report(results, peer);
  write(results, peer);
  say(`written to ${values.out}`);
}

/** Also before the end: the figures are there even if the rest takes longer than one can wait. */
function write(sizes: readonly SizeResult[], peer: PeerResult | null): void {
  const results = {
    at: new Date().toISOString(),
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model,
      memory: totalmem(),
      arch: arch(),
      release: release(),
    },
    node: process.version,
    shape: SHAPE satisfies Omit<DataShape, 'sessions' | 'nowMs'>,
    targets: QUESTIONS.map(({ name, targetMs, growthMax }) => ({ name, targetMs, growthMax })),
    sizes,
    sqlite: peer,
  };
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(values.out, `${JSON.stringify(results, null, 2)}\n`);
}

await main();
