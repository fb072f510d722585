/**
 * A flood of questions beyond what the machine can answer. It saturates the machine, so it runs on demand:
 *
 *     SOCKSCOPE_FLOOD_SECONDS=60 npx vitest run --project integration flood
 *
 * gate.test.ts and event-loop.test.ts prove parts of it in every run.
 */
import { Agent, get } from 'node:http';
import '@sockscope/runtime/testing';
import { describe, expect, inject, it, vi } from 'vitest';
import { createTestDatabase } from '../testing/database.js';
import { startQuery } from '../testing/service.js';
import { makeEvents, storeBadly } from '../testing/world.js';

const SECONDS = Number(process.env['SOCKSCOPE_FLOOD_SECONDS'] ?? 0);
const RATE = Number(process.env['SOCKSCOPE_FLOOD_RATE'] ?? 500);
const DAY_MS = 86_400_000;
const TICK_MS = 10;
/** The service's own second, and one for the generator, which shares the cores. */
const REFUSED_MS_MAX = 2_000;
/** A place within a second, and then the deadline of a query. */
const WAIT_MS_MAX = 11_000;

interface Answered {
  readonly status: number;
  readonly ms: number;
  readonly hasRetryAfter: boolean;
}

describe.skipIf(SECONDS === 0)('a flood of questions', () => {
  it(
    'is answered, or refused within two seconds with Retry-After, and afterwards the service is ready',
    async () => {
      const database = await createTestDatabase(inject('clickhouseUrl'));
      const nowMs = Date.now();
      const fromMs = nowMs - 3 * DAY_MS;
      const events = makeEvents({ seed: 91, sessions: 2_000, fromMs, toMs: nowMs });
      await storeBadly(database.clickhouse, events, { seed: 92, batches: 3 });
      const service = await startQuery(database.config);
      const isReady = async () => {
        expect((await fetch(`http://127.0.0.1:${service.ops}/readyz`)).status).toBe(200);
      };
      try {
        await vi.waitFor(isReady, { timeout: 60_000, interval: 200 });
        const answers = await flood(`http://127.0.0.1:${service.port}/api/v1`, nowMs);
        const of = (...statuses: number[]) =>
          answers.filter(({ status }) => statuses.includes(status));
        const longest = (some: readonly Answered[]) => Math.max(0, ...some.map(({ ms }) => ms));
        const refused = of(503);
        console.log({
          asked: answers.length,
          answered: of(200).length,
          refused: refused.length,
          longest_answered_ms: Math.round(longest(of(200))),
          longest_refused_ms: Math.round(longest(refused)),
          median_refused_ms: Math.round(
            refused.map(({ ms }) => ms).toSorted((a, b) => a - b)[refused.length >> 1] ?? 0,
          ),
        });
        expect(of(200, 503).length).toBe(answers.length);
        expect(refused.every(({ hasRetryAfter }) => hasRetryAfter)).toBe(true);
        expect(longest(refused)).toBeLessThan(REFUSED_MS_MAX);
        expect(longest(answers)).toBeLessThan(WAIT_MS_MAX);
        await vi.waitFor(isReady, { timeout: 60_000, interval: 200 });
      } finally {
        await service.stop();
        await database.drop();
      }
    },
    (SECONDS + 300) * 1_000,
  );
});

/** Asks at a fixed rate, independent of the answers; no two questions are equal. */
async function flood(api: string, nowMs: number): Promise<Answered[]> {
  const agent = new Agent({ keepAlive: true });
  const waiting: Promise<Answered>[] = [];
  const paths = ['stats?', 'top/users?', 'traffic?', 'sessions?limit=50&', 'top/destinations?'];
  const startedMs = performance.now();
  for (;;) {
    const elapsedMs = performance.now() - startedMs;
    if (elapsedMs > SECONDS * 1_000) break;
    while (waiting.length < (elapsedMs / 1_000) * RATE) {
      const n = waiting.length;
      const from = new Date(nowMs - DAY_MS - n * 1_000).toISOString();
      const path = `${paths[n % paths.length] ?? ''}from=${from}&to=${new Date(nowMs).toISOString()}`;
      waiting.push(ask(`${api}/${path}`, agent));
    }
    await new Promise((resolve) => {
      setTimeout(resolve, TICK_MS);
    });
  }
  const answers = await Promise.all(waiting);
  agent.destroy();
  return answers;
}

function ask(url: string, agent: Agent): Promise<Answered> {
  const askedMs = performance.now();
  return new Promise((resolve) => {
    get(url, { agent }, (response) => {
      const hasRetryAfter = response.headers['retry-after'] !== undefined;
      response.resume().on('end', () => {
        const status = response.statusCode ?? 0;
        resolve({ status, ms: performance.now() - askedMs, hasRetryAfter });
      });
    }).on('error', () => {
      resolve({ status: 0, ms: performance.now() - askedMs, hasRetryAfter: false });
    });
  });
}
