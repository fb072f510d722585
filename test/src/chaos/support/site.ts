import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '@sockscope/schemas/testing';
import type { ProxySite } from '../../support/proxy-process.js';

/** The value of a metric without labels of its own; the sum if there are several. */
export async function metricOf(site: ProxySite, name: string): Promise<number> {
  const text = await (await fetch(`${site.ops}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  if (lines.length === 0) throw new Error(`there is no metric ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** The proxy's numbers may be half a second old. */
const STATS_AGE_MS = 1_000;

/** Resolves when everything that the proxy has emitted by now is acknowledged by Kafka. */
export async function allPublished(site: ProxySite, timeoutMs = 60_000): Promise<void> {
  let emptySinceMs = Number.POSITIVE_INFINITY;
  await until('everything is published', timeoutMs, async () => {
    const waiting = await Promise.all(
      ['spool_bytes', 'queue_bytes', 'queue_deltas'].map((name) =>
        metricOf(site, `sockscope_proxy_${name}`),
      ),
    );
    const isEmpty = waiting.every((value) => value === 0);
    emptySinceMs = isEmpty ? Math.min(emptySinceMs, Date.now()) : Number.POSITIVE_INFINITY;
    return Date.now() - emptySinceMs > STATS_AGE_MS;
  });
}

export async function until(
  what: string,
  timeoutMs: number,
  holds: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(50);
  }
}

export async function tempDir(name: string): Promise<{ dir: string; remove: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), `sockscope-chaos-${name}-`));
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** A seed that a failure shows and SOCKSCOPE_SEED repeats. */
export function seeded(): () => number {
  const seed = Number(process.env['SOCKSCOPE_SEED'] ?? Date.now() % 1_000_000);
  console.info(`seed ${seed} (SOCKSCOPE_SEED repeats it)`);
  return seededRandom(seed);
}

/** True with SOCKSCOPE_CHAOS=full: outages last as long as promised, else a few seconds. */
export const IS_FULL = process.env['SOCKSCOPE_CHAOS'] === 'full';
