import type { BenchCase, BenchOptions } from './cases.js';
import type { Generator } from './generator/client.js';
import { treeCpuSeconds, treeResidentKb } from './processes.js';
import type { Peer, RunningPeer } from './peers/peer.js';
import type { Results } from './results.js';

/** Sessions that are opened and closed before memory is first read, so that kept memory counts once. */
const WARM_UP_SESSIONS = 500;
/** How long memory may settle before it is read. */
const SETTLE_MS = 1_500;
/**
 * One case's tail must not be the next one's load: the benchmark waits until a proxy is at rest,
 * within a limit.
 */
const REST_CHECK_MS = 200;
const REST_CPU_SECONDS = 0.02;
const REST_TIMEOUT_MS = 10_000;

export interface RunDeps {
  readonly options: BenchOptions;
  readonly generator: Generator;
  /** Makes the load that a measurement runs beside. */
  readonly background: Generator;
  /** Processes that work for a peer without being it: Kafka. */
  readonly bystanders: readonly number[];
  readonly results: Results;
  readonly say: (text: string) => void;
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** Waits until processes use next to no processor time. */
async function rest(pids: readonly number[]): Promise<void> {
  const deadline = performance.now() + REST_TIMEOUT_MS;
  for (let before = treeCpuSeconds(pids); performance.now() < deadline;) {
    await sleep(REST_CHECK_MS);
    const now = treeCpuSeconds(pids);
    if (before === null || now === null || now - before <= REST_CPU_SECONDS) return;
    before = now;
  }
}

/** A peer through one case, once, beginning at rest. The results contain the failures. */
export async function runPeer(
  peer: Peer,
  running: RunningPeer,
  benchCase: BenchCase,
  deps: RunDeps,
): Promise<void> {
  await rest([...running.pids, ...deps.bystanders]);
  try {
    await runCase(peer.name, running, benchCase, deps);
  } catch (error) {
    deps.results.fail(benchCase.name, peer.name, String(error));
    deps.say(String(error));
  }
}

/** A case of a fresh process: memory that a busy hour left behind is not memory per session. */
export async function runFresh(peer: Peer, benchCase: BenchCase, deps: RunDeps): Promise<void> {
  const running = await peer.start();
  try {
    // Memory is asked of processes, and a direct connection has none.
    if (running.pids.length > 0) await runPeer(peer, running, benchCase, deps);
  } finally {
    await running.stop();
  }
}

async function runCase(
  peer: string,
  running: RunningPeer,
  benchCase: BenchCase,
  { options, generator, background, bystanders, results, say }: RunDeps,
): Promise<void> {
  if (benchCase.kind === 'idle') {
    const { via, pids } = running;
    await generator.run({ kind: 'open_idle', sessions: WARM_UP_SESSIONS }, via);
    await generator.run({ kind: 'close_idle' }, via);
    await sleep(SETTLE_MS);
    const before = treeResidentKb(pids);
    const { count, failures } = await generator.run(
      { kind: 'open_idle', sessions: options.idleSessions },
      via,
    );
    await sleep(SETTLE_MS);
    const after = treeResidentKb(pids);
    const closed = await generator.run({ kind: 'close_idle' }, via);
    if (count > 0) results.add('idle session', peer, (after - before) / count);
    if (failures + closed.failures > 0) {
      results.fail('idle', peer, `${failures} refused, ${closed.failures} broken`);
    }
    say(`${benchCase.name}: ${((after - before) / count).toFixed(1)} KB`);
    return;
  }
  const { besideDownloads = 0 } = benchCase;
  if (besideDownloads > 0) {
    const job = { kind: 'open_downloads', connections: besideDownloads } as const;
    await background.run(job, running.via);
  }
  const cpuBefore = treeCpuSeconds(running.pids);
  const kafkaBefore = treeCpuSeconds(bystanders);
  const result = await generator.run(benchCase.job(options), running.via);
  const cpuAfter = treeCpuSeconds(running.pids);
  const kafkaAfter = treeCpuSeconds(bystanders);
  const perPiece = (before: number | null, after: number | null): number | null =>
    before === null || after === null ? null : (after - before) / result.total;
  if (besideDownloads > 0) await background.run({ kind: 'close_idle' }, running.via);
  for (const measure of benchCase.measures) {
    const value = {
      rate: (result.count / result.elapsedMs) * 1_000,
      cpu: perPiece(cpuBefore, cpuAfter),
      kafka_cpu: perPiece(kafkaBefore, kafkaAfter),
      p50: result.p50Us,
      p99: result.p99Us,
    }[measure.from];
    if (value === null || result.count === 0) continue;
    results.add(measure.name, peer, value * measure.scale);
    say(`${measure.name}: ${(value * measure.scale).toFixed(1)} ${measure.unit}`);
  }
  if (result.failures > 0) {
    results.fail(benchCase.name, peer, `${result.failures} of ${result.count} failed`);
  }
}
