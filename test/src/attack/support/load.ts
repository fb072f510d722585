import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { IS_FULL, until } from '../../chaos/support/site.js';

const FLOODER = fileURLToPath(new URL('../../../dist/attack/support/flooder.js', import.meta.url));

/** The results of clients at a fixed rate. */
export interface Steady {
  /** Share from 0 to 1. */
  readonly succeeded: number;
  readonly p99Ms: number;
}

/** Runs `attempt` a number of times at a fixed rate, whether or not earlier ones have ended. */
export async function steady(
  perSecond: number,
  count: number,
  attempt: (n: number) => Promise<boolean>,
): Promise<Steady> {
  const startedMs = performance.now();
  const runs: Promise<{ isRight: boolean; tookMs: number }>[] = [];
  for (let n = 0; n < count; n += 1) {
    await delay(Math.max(0, startedMs + (n * 1_000) / perSecond - performance.now()));
    const beganMs = performance.now();
    runs.push(
      attempt(n)
        .catch(() => false)
        .then((isRight) => ({ isRight, tookMs: performance.now() - beganMs })),
    );
  }
  const results = await Promise.all(runs);
  const right = results.filter(({ isRight }) => isRight);
  const times = right.map(({ tookMs }) => tookMs).toSorted((a, b) => a - b);
  return {
    succeeded: right.length / count,
    p99Ms: times[Math.ceil(times.length * 0.99) - 1] ?? Number.POSITIVE_INFINITY,
  };
}

/** Before the attack; only the full run, which has the machine to itself, compares with it. */
export async function undisturbed(...how: Parameters<typeof steady>): Promise<Steady | null> {
  return IS_FULL ? steady(...how) : null;
}

/**
 * 95 % in time, which a proxy that lets them wait for the end of the attack misses; and in the full run
 * p99 no more than five times as slow as before the attack. Beside other tests a burst of their work
 * alone delays the slowest answers by seconds.
 */
export function expectUndisturbed(attacked: Steady, calm: Steady | null): void {
  expect(attacked.succeeded).toBeGreaterThanOrEqual(0.95);
  if (calm !== null) {
    console.info(`p99 ${calm.p99Ms} ms undisturbed, ${attacked.p99Ms} ms under attack`);
    expect(attacked.p99Ms).toBeLessThan(5 * calm.p99Ms);
  }
}

/** The kind of an attack. */
export type Attack = {
  /** Port of the proxy. */
  readonly proxyPort: number;
  /** Attempts at once. A new one replaces one that has ended, a second after its start at the earliest. */
  readonly lanes: number;
  /** Attempts in all. */
  readonly limit: number;
  /** How long one waits for an answer; without it five seconds. */
  readonly patienceMs?: number;
  /** Sent behind the request. */
  readonly payloadBytes?: number;
  /** All come from one IPv6 /48; else half of them from 30 IPv4 addresses. */
  readonly isOneNetwork?: boolean;
} & (
  | { readonly kind: 'silence' }
  | { readonly kind: 'login' }
  /** Connects to these hosts in turn; `{n}` in a name is the number of the attempt. */
  | { readonly kind: 'connect'; readonly hosts: readonly string[]; readonly port: number }
);

export interface Flood {
  /** Resolves when this many attempts have begun: on a busy machine the attackers, who go last, take their time. */
  reached(attempts: number): Promise<void>;
  /** Ends it with all its connections; returns how many attempts had begun. */
  stop(): Promise<number>;
  /** Ends it, also if it has ended. */
  kill(): void;
}

/** Attackers have machines of their own: here they leave the processor to the measured processes. */
const NICENESS = 10;
const REACHED_MAX_MS = 60_000;

/** Starts the attackers in a process of their own; resolves when they begin. */
export async function flood(attack: Attack): Promise<Flood> {
  const child = fork(FLOODER, [JSON.stringify(attack)], { stdio: 'inherit' });
  setPriority(child.pid ?? 0, NICENESS);
  await once(child, 'message');
  const attempts = async (): Promise<number> => {
    const answer = once(child, 'message');
    child.send('attempts');
    const [count] = (await answer) as [number];
    return count;
  };
  return {
    reached: (count) =>
      until(`${count} attempts`, REACHED_MAX_MS, async () => (await attempts()) >= count),
    async stop() {
      const count = await attempts();
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
      return count;
    },
    kill() {
      child.kill('SIGKILL');
    },
  };
}
