/** How many cores the parts of a benchmark use, of those that they share. */
import { readFileSync } from 'node:fs';
import { cpuSeconds } from './measure.js';

const TICK_SECONDS = 0.01;
/** The fields `idle` and `iowait` of the first line of /proc/stat. */
const IDLE = [3, 4];

/** Mean number of cores, by part. `machine` counts all processes. */
export type Cores = Readonly<Record<string, number>>;

export interface CoresMeter {
  /** The cores between two readings. */
  between(from: CoresReading, to: CoresReading): Cores;
  read(): CoresReading;
}

export interface CoresReading {
  readonly atMs: number;
  /** CPU time until now by part, seconds. */
  readonly seconds: Cores;
}

/** CPU time of the whole machine, in seconds. */
function machineSeconds(): number {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  // The last two are of guests, which user and nice contain.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const busy = ticks.filter((_, i) => !IDLE.includes(i)).reduce((sum, each) => sum + each, 0);
  return busy * TICK_SECONDS;
}

/** @param parts returns the ids of the processes of each part. There may be more of them with time. */
export function createCoresMeter(
  parts: () => Readonly<Record<string, readonly number[]>>,
): CoresMeter {
  /** Seconds of each process, so that one that has ended still counts. */
  const known = new Map<number, number>();
  const secondsOf = (pid: number): number => {
    try {
      known.set(pid, cpuSeconds(pid));
    } catch {
      // It has ended.
    }
    return known.get(pid) ?? 0;
  };
  return {
    read() {
      const seconds: Record<string, number> = { machine: machineSeconds() };
      for (const [part, pids] of Object.entries(parts())) {
        seconds[part] = pids.reduce((sum, pid) => sum + secondsOf(pid), 0);
      }
      return { atMs: performance.now(), seconds };
    },
    between(from, to) {
      const spanS = (to.atMs - from.atMs) / 1_000;
      const cores = Object.entries(to.seconds).map(([part, seconds]) => [
        part,
        Number(((seconds - (from.seconds[part] ?? 0)) / spanS).toFixed(2)),
      ]);
      return Object.fromEntries(cores) as Cores;
    },
  };
}
