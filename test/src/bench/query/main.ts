/**
 * `npm run bench:query`: every question through HTTP against the real query service on generated data,
 * the same questions to SQLite, and a mixed load. Prints a table and writes JSON to test/bench/results/.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { arch, cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { DataShape } from './generate.js';
import { createHttpClient, quantile } from './http.js';
import type { HttpClient } from './http.js';
import { measureLive } from './live.js';
import { loadText, mixedLoad, ratesKept } from './mix.js';
import type { SubjectOf } from './mix.js';
import { inTurn, QUESTIONS } from './questions.js';
import type { KnownSession, Question, Subject } from './questions.js';
import { report } from './report.js';
import type { Measured, PeerResult, SizeResult } from './report.js';
import { startSqlitePeer } from './sqlite-peer.js';
import { startStack } from './stack.js';
import type { Stack } from './stack.js';

const HELP = `npm run bench:query -- [options]

  --sessions A,B     sizes, each measured in turn (default 10000000; the targets are for 100000000)
  --data DIR         keep the generated data there, in a folder per size, and use it again
  --requests N       requests per question (default 40)
  --only TEXT        only questions whose names contain it, and no load
  --rate N           requests a second of the flood (default 500)
  --seconds N        its length (default 60)
  --live             measure the live view instead: 100 viewers of 20 views, 50,000 open sessions,
                     3,000 events a second
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
    seconds: { type: 'string', default: '60' },
    only: { type: 'string', default: '' },
    live: { type: 'boolean', default: false },
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
/** Requests of a question that takes long. */
const SLOW_REQUESTS = 6;
const LIVE_SESSIONS = 100_000;
const LIVE = { viewers: 100, views: 20, open: 50_000, eventsPerSecond: 3_000, seconds: 30 };

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
  readonly items: readonly (KnownSession | { readonly egress_port: null })[];
  readonly next_cursor: string | null;
}

/** The subjects of questions: sessions from all over the range, and a cursor 100,000 rows below the newest. */
interface Known {
  readonly sessions: readonly KnownSession[];
  readonly deepCursor: string;
}

const SESSIONS_AT_A_TIME = 25;

async function known(stack: Stack, count: number): Promise<Known> {
  const { shape, api } = stack;
  let deepCursor = '';

  for (let page = 0; page < 100; page += 1) {
    const cursor: string = deepCursor === '' ? '' : `&cursor=${encodeURIComponent(deepCursor)}`;
    deepCursor = (await getJson<Page>(api, `sessions?limit=1000${cursor}`)).next_cursor ?? '';
  }
  const sessions: KnownSession[] = [];
  for (let n = 0; n < count; n += 1) {
    const before = new Date(shape.nowMs - ((n + 0.5) / count) * shape.days * 86_400_000);
    const page = await getJson<Page>(
      api,
      `sessions?limit=${SESSIONS_AT_A_TIME}&to=${before.toISOString()}`,
    );
    for (const item of page.items) if (item.egress_port !== null) sessions.push(item);
  }
  return { sessions, deepCursor };
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
  bare: HttpClient,
  question: Question,
  { about, warmUps }: { readonly about: readonly Subject[]; readonly warmUps: readonly Subject[] },
): Promise<Measured & { readonly selectOne: readonly number[] }> {
  const times: number[] = [];
  const selectOne: number[] = [];
  let [rows, refused, failed] = [0, 0, 0];

  for (const [i, subject] of [...warmUps, ...about].entries()) {
    if (i === warmUps.length) rows = await rowsRead(stack.ops);
    // The machine is not equally fast all the time: both are measured together.
    const one = await bare.get('/?query=SELECT%201');
    if (one.status !== 200) throw new Error(`SELECT 1: ${one.status}`);
    const path = question.path(subject);
    const { status, ms, body } = await stack.api.get(`/api/v1/${path}`);
    if (i < warmUps.length) continue;
    times.push(ms);
    selectOne.push(one.ms);
    if (status === 422 && question.mayBeRefused === true) refused += 1;
    else if (status !== 200) {
      failed += 1;
      say(`  ${path}: ${status} ${body.slice(0, 500)}`);
    }
  }
  const p50Ms = quantile(times, 0.5);
  return {
    p50Ms,
    p95Ms: quantile(times, 0.95),
    ratio: p50Ms / quantile(selectOne, 0.5),
    rowsRead: Math.round(((await rowsRead(stack.ops)) - rows) / about.length),
    refused,
    failed,
    selectOne,
  };
}

async function measureAll(stack: Stack, about: readonly Subject[]) {
  const bare = createHttpClient(stack.clickhouseUrl);
  const questions: Record<string, Measured> = {};
  const selectOne: number[] = [];
  for (const question of QUESTIONS.filter(({ name }) => name.includes(values.only))) {
    const isSlow = question.slow === true;
    const some = {
      about: about.slice(0, isSlow ? SLOW_REQUESTS : about.length),
      // Others than those that are measured: an answer over closed days is remembered.
      warmUps: about.slice(isSlow ? -1 : -WARM_UP),
    };
    const { selectOne: ones, ...measured } = await measure(stack, bare, question, some);
    questions[question.name] = measured;
    selectOne.push(...ones);
    say(
      `  ${question.name}: ${measured.p50Ms.toFixed(1)} ms, ${measured.ratio.toFixed(1)} times SELECT 1, ${measured.rowsRead} rows${measured.refused > 0 ? `, ${measured.refused} refused` : ''}${measured.failed > 0 ? `, ${measured.failed} FAILED` : ''}`,
    );
  }
  bare.close();
  return { questions, selectOneMs: quantile(selectOne, 0.5) };
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

async function runSize(
  dir: string,
  sessions: number,
  onSize: (size: SizeResult) => void,
): Promise<PeerResult | null> {
  const stack = await startStack(join(dir, String(sessions)), { ...SHAPE, sessions }, say);
  try {
    say('looking for subjects of questions');
    const count = wholeNumber('requests', values.requests);
    const { sessions: found, deepCursor } = await known(stack, count);
    const subject: SubjectOf = (of) => {
      // A stride that shares no factor with the length visits each.
      const session = found[(of.n * 7_919) % found.length];
      if (session === undefined) throw new Error('no session was connected');
      return { ...of, shape: stack.shape, deepCursor, session };
    };
    const about = Array.from({ length: count }, (_, n) => subject(inTurn(n)));
    const measured = await measureAll(stack, about);
    if (values.only !== '') return null;
    say('mixed load');
    const keptUpWith = await ratesKept(stack, subject, say);
    const flood = await mixedLoad(stack, subject, {
      rate: wholeNumber('rate', values.rate),
      seconds: wholeNumber('seconds', values.seconds),
    });
    say(`  ${loadText(flood)}`);
    onSize({
      sessions,
      bytesPerSession: await bytesPerSession(stack),
      ...measured,
      flood,
      keptUpWith,
    });
    return sessions <= PEER_SESSIONS_MAX && values.peer ? await runPeer(dir, stack, about) : null;
  } finally {
    await stack.stop();
  }
}

/** Needs little history, and sessions that are open now. */
async function runLive(dir: string): Promise<void> {
  const stack = await startStack(join(dir, 'live'), { ...SHAPE, sessions: LIVE_SESSIONS }, say);
  try {
    const { shape, ...found } = await measureLive(stack, LIVE);
    process.stdout.write(`${JSON.stringify({ ...shape, ...found }, null, 2)}\n`);
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
        const counterpart = question.sqlite?.(subject);
        if (
          counterpart === undefined ||
          (counterpart.slow === true && times.length >= SLOW_REPEATS)
        )
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
    if (values.live) {
      await runLive(dir);
      return;
    }
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
    targets: QUESTIONS.map(({ name, ratioMax, growthMax }) => ({ name, ratioMax, growthMax })),
    sizes,
    sqlite: peer,
  };
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(values.out, `${JSON.stringify(results, null, 2)}\n`);
}

await main();
