import type { BenchCase, BenchOptions } from './cases.js';
import type { Generator } from './generator/client.js';
import { treeCpuSeconds, treeResidentKb } from './processes.js';
import type { Peer, RunningPeer } from './peers/peer.js';
import type { Results } from './results.js';

/** Sessions that are opened and closed before memory is first read, so that what is kept counts once. */
const WARM_UP_SESSIONS = 500;
/** How long memory may settle before it is read. */
const SETTLE_MS = 1_500;
/** Before a case, so that one's tail is not the next one's load. */
const PAUSE_MS = 200;

export interface RunDeps {
  readonly generator: Generator;
  /** Makes the load that a measurement runs beside. */
  readonly background: Generator;
  readonly results: Results;
  readonly say: (text: string) => void;
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** One peer through all cases, once. */
export async function runPeer(
  peer: Peer,
  cases: readonly BenchCase[],
  options: BenchOptions,
  deps: RunDeps,
): Promise<void> {
  const running = await peer.start();
  try {
    for (const benchCase of cases) {
      // Memory is asked of processes, and a direct connection has none.
      if (benchCase.kind === 'idle' && running.pids.length === 0) continue;
      try {
        // oxlint-disable-next-line no-await-in-loop
        await runCase(peer.name, running, benchCase, options, deps);
      } catch (error) {
        deps.results.fail(benchCase.name, peer.name, String(error));
      }
      // oxlint-disable-next-line no-await-in-loop
      await sleep(PAUSE_MS);
    }
  } finally {
    await running.stop();
  }
}

async function runCase(
  peer: string,
  running: RunningPeer,
  benchCase: BenchCase,
  options: BenchOptions,
  { generator, background, results, say }: RunDeps,
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
  const result = await generator.run(benchCase.job(options), running.via);
  const cpuAfter = treeCpuSeconds(running.pids);
  if (besideDownloads > 0) await background.run({ kind: 'close_idle' }, running.via);
  for (const measure of benchCase.measures) {
    const value = {
      rate: (result.count / result.elapsedMs) * 1_000,
      cpu: cpuBefore === null || cpuAfter === null ? null : (cpuAfter - cpuBefore) / result.total,
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
