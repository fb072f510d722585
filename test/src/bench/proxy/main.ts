/**
 * `npm run bench:proxy`: this proxy and its peers under the same load, in turn, in several rounds.
 * Prints medians and ratios and writes them to test/bench/results/.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BENCH_CASES } from './cases.js';
import type { Measure } from './cases.js';
import { startGenerator } from './generator/client.js';
import { runMicro } from './micro.js';
import { bareNode, dante, direct, microsocks, singBox } from './peers/others.js';
import type { Peer, RunningPeer } from './peers/peer.js';
import { sockscope, startBenchKafka } from './peers/sockscope.js';
import type { BenchKafka } from './peers/sockscope.js';
import { mergeReports, Results, short, table } from './results.js';
import type { Report, Target } from './results.js';
import { runFresh, runPeer } from './run.js';

const HELP = `npm run bench:proxy -- [options]

  --rounds N         rounds, each with every peer in turn (default 3)
  --duration MS      length of one measurement (default 1500)
  --peers a,b        only these (default all): PEERS
  --cases a,b        only these (default all): CASES, micro
  --idle N           sessions of the idle case (default 5000)
  --sing-box PATH    its binary (default sing-box on the PATH)
  --prof DIR         write a CPU profile of every Node proxy there
  --out FILE         JSON results (default test/bench/results/proxy.json)
  --merge            keep the other cases that the file holds, of an earlier run
  --help

Example: npm run bench:proxy -- --rounds 1 --cases connect-rate --peers direct,sockscope-stream
`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    duration: { type: 'string', default: '1500' },
    peers: { type: 'string', default: '' },
    cases: { type: 'string', default: '' },
    idle: { type: 'string', default: '5000' },
    'sing-box': { type: 'string', default: 'sing-box' },
    prof: { type: 'string', default: '' },
    out: {
      type: 'string',
      default: fileURLToPath(new URL('../../../bench/results/proxy.json', import.meta.url)),
    },
    merge: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

/**
 * Load on every process before anything is measured. A tracked proxy needs about 20,000 connections until it costs
 * as little as it ever does; an untracked one fewer. A broker compiles itself, too.
 */
const WARM_UP_MS = 8_000;

/** Progress goes to standard error, results to standard output. */
const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

function listOf(text: string): string[] {
  return text.split(',').filter((part) => part !== '');
}

function wholeNumber(name: string, text: string, min: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min) {
    say(`--${name} must be a whole number from ${min}, not ${text}`);
    process.exit(2);
  }
  return value;
}

function peersWith(kafka: BenchKafka | null): Peer[] {
  const nodeArgs = values.prof === '' ? [] : ['--cpu-prof', `--cpu-prof-dir=${values.prof}`];
  const tracked =
    kafka === null
      ? []
      : [sockscope('splice', kafka, nodeArgs), sockscope('stream', kafka, nodeArgs)];
  return [
    ...tracked,
    singBox(values['sing-box']),
    sockscope('splice', null, nodeArgs),
    sockscope('stream', null, nodeArgs),
    microsocks,
    dante,
    bareNode,
    direct,
  ];
}

const TRACKED = ['sockscope-splice', 'sockscope-stream'];
const PEER_NAMES = [...TRACKED, ...peersWith(null).map(({ name }) => name)];
const CASE_NAMES = BENCH_CASES.map(({ name }) => name);

if (values.help) {
  process.stdout.write(
    HELP.replace('PEERS', PEER_NAMES.join(', ')).replace('CASES', CASE_NAMES.join(', ')),
  );
  process.exit(0);
}
const rounds = wholeNumber('rounds', values.rounds, 1);
const options = {
  durationMs: wholeNumber('duration', values.duration, 100),
  idleSessions: wholeNumber('idle', values.idle, 1),
};
const wantedPeers = values.peers === '' ? PEER_NAMES : listOf(values.peers);
const wantedCases = values.cases === '' ? [...CASE_NAMES, 'micro'] : listOf(values.cases);
for (const [wanted, known] of [
  [wantedPeers, PEER_NAMES],
  [wantedCases, [...CASE_NAMES, 'micro']],
] as const) {
  const unknown = wanted.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    say(`unknown: ${unknown.join(', ')}; known: ${known.join(', ')}`);
    process.exit(2);
  }
}

/** All peers run from here on, so that one case can be asked of each within seconds. */
async function startAll(peers: readonly Peer[]): Promise<{ peer: Peer; process: RunningPeer }[]> {
  const started: { peer: Peer; process: RunningPeer }[] = [];
  for (const peer of peers) {
    try {
      started.push({ peer, process: await peer.start() });
    } catch (error) {
      results.fail('start', peer.name, String(error));
      say(String(error));
    }
  }
  return started;
}

/** Sessions that nobody counts. */
async function warmUp({ via }: RunningPeer): Promise<void> {
  await generator.run({ kind: 'connect_rate', atOnce: 32, durationMs: WARM_UP_MS }, via);
}

const cases = BENCH_CASES.filter(({ name }) => wantedCases.includes(name));
const measures: Measure[] = cases.flatMap((benchCase) => [...benchCase.measures]);
const results = new Results();
const startedAt = new Date();

const wantsKafka = cases.length > 0 && wantedPeers.some((name) => TRACKED.includes(name));
if (wantsKafka) say('starting Kafka');
const kafka = wantsKafka ? await startBenchKafka() : null;
const [generator, background] = await Promise.all([startGenerator(), startGenerator()]);
const missing: { peer: string; get: string }[] = [];
try {
  const peers = peersWith(kafka).filter((peer) => {
    if (!wantedPeers.includes(peer.name)) return false;
    const get = peer.missing();
    if (get !== null) missing.push({ peer: peer.name, get });
    return get === null;
  });
  for (const { peer, get } of missing) say(`${peer} is left out, for it is not here: ${get}`);
  const deps = {
    options,
    generator,
    background,
    bystanders: kafka === null ? [] : [kafka.pid],
    results,
    say: (text: string): void => {
      say(`  ${text}`);
    },
  };
  const running = await startAll(peers);
  try {
    for (const { peer, process: its } of running) {
      say(`warming up ${peer.name}`);
      await warmUp(its);
    }
    for (let round = 1; round <= rounds && cases.length > 0; round++) {
      // Another one begins every time, so that no peer always follows the same one.
      const first = (round - 1) % Math.max(1, running.length);
      const inTurn = [...running.slice(first), ...running.slice(0, first)];
      for (const benchCase of cases) {
        for (const { peer, process: its } of inTurn) {
          say(`round ${round} of ${rounds}, ${benchCase.name}, ${peer.name}`);
          const fresh = benchCase.kind === 'idle';
          await (fresh ? runFresh(peer, benchCase, deps) : runPeer(peer, its, benchCase, deps));
        }
      }
    }
  } finally {
    await Promise.all(running.map(({ process: its }) => its.stop()));
  }
} finally {
  await Promise.all([generator.stop(), background.stop()]);
  await kafka?.stop();
}

const OURS = 'sockscope-splice';
const UNTRACKED = 'sockscope-splice-untracked';
const targets: Target[] = [
  ...['download-1', 'download-16', 'upload-1', 'upload-16'].flatMap((measure) =>
    ['sing-box', 'microsocks'].map((against) => ({
      measure,
      peer: OURS,
      against,
      bound: 1,
      lowerIsBetter: false,
    })),
  ),
  ...['sing-box', UNTRACKED].map((against) => ({
    measure: 'connect-rate',
    peer: OURS,
    against,
    bound: 0.9,
    lowerIsBetter: false,
  })),
  {
    measure: 'connect-rate CPU',
    peer: OURS,
    against: UNTRACKED,
    bound: 1.15,
    lowerIsBetter: true,
  },
  ...measures
    .filter(({ name, lowerIsBetter }) => !lowerIsBetter && name !== 'connect-rate')
    .map(({ name }) => ({
      measure: name,
      peer: OURS,
      against: UNTRACKED,
      bound: 0.97,
      lowerIsBetter: false,
    })),
  { measure: 'idle session', peer: OURS, against: null, bound: 15, lowerIsBetter: true },
];
const outcomes = results.check(targets).filter(({ value }) => value !== null);
const micro = wantedCases.includes('micro') ? runMicro(say) : [];

const names = PEER_NAMES.filter((name) =>
  measures.some((measure) => results.median(measure.name, name) !== null),
);
const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
if (names.length > 0) {
  print(`\nMedians of ${rounds} rounds\n`);
  print(
    table([
      ['', 'unit', ...names],
      ...measures.map(({ name, unit }) => [
        name,
        unit,
        ...names.map((peer) => short(results.median(name, peer))),
      ]),
    ]),
  );
}
if (outcomes.length > 0) {
  print('\nAgainst the targets (medians of the ratios of each round)\n');
  print(
    table([
      ['measure', 'of', 'against', 'value', 'target', ''],
      ...outcomes.map(({ measure, peer, against, value, bound, lowerIsBetter, met }) => [
        measure,
        peer,
        against ?? '',
        short(value),
        `${lowerIsBetter ? '≤' : '≥'} ${bound}`,
        met === true ? 'met' : 'MISSED',
      ]),
    ]),
  );
}
if (micro.length > 0) {
  print('\nSingle operations\n');
  print(
    table([
      ['operation', 'median', 'unit', 'target', ''],
      ...micro.map(({ name, value, unit, bound }) => [
        name,
        short(value),
        unit,
        bound === null ? '' : `≤ ${bound}`,
        bound === null ? '' : value <= bound ? 'met' : 'MISSED',
      ]),
    ]),
  );
}
for (const { case: name, peer, what } of results.failures) print(`${peer}, ${name}: ${what}`);
for (const { peer, get } of missing) print(`${peer} was left out: ${get}`);

const [cpu] = cpus();
const report: Report = {
  runs: [
    {
      started_at: startedAt.toISOString(),
      machine: {
        cpu: cpu?.model ?? '',
        cpus: cpus().length,
        memory_bytes: totalmem(),
        arch: arch(),
        platform: process.platform,
        kernel: release(),
        node: process.version,
      },
      options: { rounds, ...options },
      cases: [...cases.map(({ name }) => name), ...(micro.length > 0 ? ['micro'] : [])],
      failures: results.failures,
      missing,
    },
  ],
  measures: results.toJson(measures),
  targets: outcomes,
  micro,
};
mkdirSync(dirname(values.out), { recursive: true });
const before =
  values.merge && existsSync(values.out)
    ? (JSON.parse(readFileSync(values.out, 'utf8')) as Report)
    : null;
writeFileSync(values.out, `${JSON.stringify(mergeReports(before, report), null, 2)}\n`);
say(`\nwritten to ${values.out}`);
