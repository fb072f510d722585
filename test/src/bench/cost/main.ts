/**
 * `npm run bench:cost`: processor time per session of each process of the whole product, and of its
 * peers under the same load, in turn, in one run. Counted from the first connection until all
 * processes rest again, so that sums and merges are in it; the use at rest is not.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { arch, cpus, release, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pickFreePort } from '@sockscope/local';
import { startGenerator } from '../proxy/generator/client.js';
import type { JobResult } from '../proxy/generator/protocol.js';
import { singBox } from '../proxy/peers/others.js';
import { startProxyProcess } from '../proxy/peers/process.js';
import type { RunningPeer } from '../proxy/peers/peer.js';
import { treeCpuSeconds } from '../proxy/processes.js';
import { costCase, DEFAULT_CASES } from './cases.js';
import { startProduct } from './product.js';
import type { SpoolState, Subject } from './product.js';

const HELP = `npm run bench:cost -- [options]

  --duration S         length of a load (default 30)
  --rounds N           rounds, each with every subject in turn (default 1)
  --cases a,b          default ${DEFAULT_CASES.join(',')};
                       short-N is N short sessions a second
  --baseline DIR       another built checkout of the product, measured in the same run
  --sing-box PATH      its binary (default sing-box on the PATH; left out if there is none)
  --peer NAME=COMMAND  another proxy, such as RustSocks; {port} and {dir} in its command are
                       filled in. May be repeated
  --out FILE           JSON results (default test/bench/results/cost.json)
  --help

Example: npm run bench:cost -- --duration 10 --cases short-300 --baseline ../sockscope-before
`;

const { values } = parseArgs({
  options: {
    duration: { type: 'string', default: '30' },
    rounds: { type: 'string', default: '1' },
    cases: { type: 'string', default: DEFAULT_CASES.join(',') },
    baseline: { type: 'string' },
    'sing-box': { type: 'string', default: 'sing-box' },
    peer: { type: 'string', multiple: true, default: [] },
    out: {
      type: 'string',
      default: fileURLToPath(new URL('../../../bench/results/cost.json', import.meta.url)),
    },
    help: { type: 'boolean', default: false },
  },
});

/** Connections before anything is measured: each subject compiles its code and fills its caches. */
const WARM_UP_MS = 8_000;
/** The pause before the use at rest is measured: the first merges and compilations. */
const SETTLE_MS = 15_000;
const IDLE_MS = 10_000;
/**
 * Processes are at rest if they use at most this much of a core more than before the load, for this
 * time.
 */
const QUIET_CORES = 0.03;
const QUIET_MS = 6_000;
const QUIET_TIMEOUT_MS = 180_000;
const SPOOL_SAMPLE_MS = 1_000;

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  say(`--${name} must be a whole number above 0, not ${text}`);
  process.exit(2);
}

if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const durationMs = wholeNumber('duration', values.duration) * 1_000;
const rounds = wholeNumber('rounds', values.rounds);
const cases = values.cases.split(',').map((name) => {
  const found = costCase(name);
  if (found !== null) return found;
  say(`there is no case ${name}; known: ${DEFAULT_CASES.join(', ')}, short-N`);
  process.exit(2);
});

function proxyAlone(name: string, running: RunningPeer): Subject {
  return {
    via: running.via,
    cpuSeconds: () => ({ [name]: treeCpuSeconds(running.pids) ?? 0 }),
    spool: null,
    stop: () => running.stop(),
  };
}

async function startPeer(name: string, command: string): Promise<Subject> {
  const port = await pickFreePort();
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-cost-peer-'));
  const [program = '', ...args] = command
    .split(' ')
    .map((part) => part.replaceAll('{port}', String(port)).replaceAll('{dir}', dir));
  return proxyAlone(name, await startProxyProcess(program, args, port));
}

const checkout = fileURLToPath(new URL('../../../..', import.meta.url));
const subjects: { name: string; start(): Promise<Subject> }[] = [
  { name: 'sockscope', start: () => startProduct(checkout) },
];
const { baseline } = values;
if (baseline !== undefined) {
  subjects.push({ name: 'baseline', start: () => startProduct(baseline) });
}
const box = singBox(values['sing-box']);
const missing = box.missing();
if (missing === null) {
  subjects.push({
    name: box.name,
    start: async () => proxyAlone(box.name, await box.start()),
  });
} else say(`sing-box is left out: ${missing}`);
for (const peer of values.peer) {
  const [name = '', ...command] = peer.split('=');
  subjects.push({ name, start: () => startPeer(name, command.join('=')) });
}

type Seconds = Record<string, number>;
const sum = (seconds: Seconds): number => Object.values(seconds).reduce((a, b) => a + b, 0);

/** Waits until a subject rests; false if it did not in time, and the figures miss later work. */
async function untilQuiet(subject: Subject, idleCores: number): Promise<boolean> {
  const deadline = performance.now() + QUIET_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const before = sum(subject.cpuSeconds());
    const began = performance.now();
    await sleep(QUIET_MS);
    const cores = ((sum(subject.cpuSeconds()) - before) / (performance.now() - began)) * 1_000;
    if (cores <= idleCores + QUIET_CORES) return true;
  }
  return false;
}

async function idleCoresOf(subject: Subject): Promise<Seconds> {
  const before = subject.cpuSeconds();
  await sleep(IDLE_MS);
  return Object.fromEntries(
    Object.entries(subject.cpuSeconds()).map(([name, seconds]) => [
      name,
      ((seconds - (before[name] ?? 0)) / IDLE_MS) * 1_000,
    ]),
  );
}

interface Row {
  readonly case: string;
  readonly subject: string;
  readonly round: number;
  readonly sessions: number;
  readonly failures: number;
  readonly sessions_per_second: number;
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
  /** Microseconds of processor time per session above the use at rest, by process and in all. */
  readonly cpu_us: Seconds;
  readonly cpu_us_total: number;
  readonly came_to_rest: boolean;
  /** Spool of a proxy that sends events, during the load; null otherwise. */
  readonly spool: SpoolFigures | null;
}

interface SpoolFigures {
  /** Mean KiB that waited for Kafka in the first and in the last fifth of the time, and the most. */
  readonly kib_first_fifth: number;
  readonly kib_last_fifth: number;
  readonly kib_max: number;
  readonly batches: number;
  /** Batches whose oldest event was older than 5 s when Kafka acknowledged it. */
  readonly batches_over_5_s: number;
}

/** Reads the spool each second until the load is over. */
async function watchSpool(
  read: () => Promise<SpoolState>,
  load: Promise<unknown>,
): Promise<SpoolFigures> {
  const states = [await read()];
  let isOver = false;
  const over = load.finally(() => (isOver = true));
  while (!isOver) {
    await Promise.race([over, sleep(SPOOL_SAMPLE_MS)]);
    states.push(await read());
  }
  const kib = states.map(({ bytes }) => bytes / 1_024);
  const fifth = Math.ceil(kib.length / 5);
  const mean = (of: readonly number[]) => Math.round(of.reduce((a, b) => a + b, 0) / of.length);
  const since = (key: 'batches' | 'lateBatches') =>
    (states.at(-1)?.[key] ?? 0) - (states[0]?.[key] ?? 0);
  return {
    kib_first_fifth: mean(kib.slice(0, fifth)),
    kib_last_fifth: mean(kib.slice(-fifth)),
    kib_max: Math.round(Math.max(...kib)),
    batches: since('batches'),
    batches_over_5_s: since('lateBatches'),
  };
}

const rows: Row[] = [];
const generator = await startGenerator();

async function measure(name: string, round: number, subject: Subject): Promise<void> {
  const isProduct = Object.keys(subject.cpuSeconds()).length > 1;
  await generator.run({ kind: 'connect_rate', atOnce: 32, durationMs: WARM_UP_MS }, subject.via);
  if (isProduct) await sleep(SETTLE_MS);
  const idle = await idleCoresOf(subject);
  for (const load of cases) {
    const before = subject.cpuSeconds();
    const began = performance.now();
    const running: Promise<JobResult> = generator.run(load.job(durationMs), subject.via);
    const spool = subject.spool === null ? null : await watchSpool(subject.spool, running);
    const result = await running;
    const cameToRest = await untilQuiet(subject, sum(idle));
    const elapsedSeconds = (performance.now() - began) / 1_000;
    const cpu: Seconds = Object.fromEntries(
      Object.entries(subject.cpuSeconds()).map(([process, seconds]) => {
        const used = seconds - (before[process] ?? 0) - (idle[process] ?? 0) * elapsedSeconds;
        return [process, Math.round((used / result.total) * 1e6)];
      }),
    );
    const row: Row = {
      case: load.name,
      subject: name,
      round,
      sessions: result.total,
      failures: result.failures,
      sessions_per_second: Math.round((result.count / result.elapsedMs) * 1_000),
      p50_ms: result.p50Us === null ? null : Math.round(result.p50Us) / 1_000,
      p99_ms: result.p99Us === null ? null : Math.round(result.p99Us) / 1_000,
      cpu_us: cpu,
      cpu_us_total: sum(cpu),
      came_to_rest: cameToRest,
      spool,
    };
    rows.push(row);
    say(JSON.stringify(row));
  }
}

try {
  for (let round = 1; round <= rounds; round++) {
    for (const each of subjects) {
      say(`round ${round}: ${each.name}`);
      const subject = await each.start();
      try {
        await measure(each.name, round, subject);
      } finally {
        await subject.stop();
      }
    }
  }
} finally {
  await generator.stop();
}

const report = {
  command: `npm run bench:cost -- ${process.argv.slice(2).join(' ')}`.trim(),
  at: new Date().toISOString(),
  machine: {
    node: process.version,
    cpus: cpus().length,
    model: cpus()[0]?.model,
    os: release(),
    arch: arch(),
  },
  rows,
};
mkdirSync(dirname(values.out), { recursive: true });
writeFileSync(values.out, `${JSON.stringify(report, null, 2)}\n`);

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
process.stdout.write(
  line(['case', 'subject', '1/s', 'p50 ms', 'p99 ms', 'µs a session', 'of these']),
);
process.stdout.write(line(Array.from({ length: 7 }, () => '---')));
for (const row of rows) {
  process.stdout.write(
    line([
      row.case,
      row.subject,
      String(row.sessions_per_second),
      String(row.p50_ms ?? ''),
      String(row.p99_ms ?? ''),
      `${row.cpu_us_total}${row.came_to_rest ? '' : ' (not at rest)'}`,
      Object.entries(row.cpu_us)
        .map(([process, us]) => `${process} ${us}`)
        .join(', '),
    ]),
  );
}
