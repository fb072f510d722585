import { setImmediate as turn } from 'node:timers/promises';
import { createHealth, createLogger } from '@sockscope/runtime';
import type { Health } from '@sockscope/runtime';
import type { Problem } from '@sockscope/schemas/api';
import { fastify } from 'fastify';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { handleErrors } from './errors.js';
import { serveOperations } from './operations.js';
import { refuseUnderPressure } from './pressure.js';

const LIMITS = { window_ms: 100, overloaded_ms: 100, stuck_ms: 200 };
const WAIT = { timeout: 20_000, interval: 5 };

let app: FastifyInstance;
let health: Health;

beforeEach(async () => {
  health = createHealth();
  app = fastify();
  handleErrors(app, createLogger('query', { level: 'silent' }));
  serveOperations(app, { health });
  await app.register(async (guarded) => {
    await refuseUnderPressure(guarded, LIMITS, health);
    guarded.get('/question', () => ({ ok: true }));
  });
});

afterEach(() => app.close());

/** Nothing else of this process runs meanwhile, and no core is kept busy. */
function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe('a process under pressure', () => {
  it('refuses questions with a problem document while timers keep coming late, and not after', async () => {
    const ask = () => app.inject({ url: '/question' });
    await vi.waitFor(async () => {
      expect((await ask()).statusCode).toBe(200);
    }, WAIT);
    let answer = await ask();
    while (answer.statusCode === 200) {
      hold(300);
      await turn();
      answer = await ask();
    }
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([503, '2']);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.json<Problem>().code).toBe('overloaded');
    await vi.waitFor(async () => {
      expect((await ask()).statusCode).toBe(200);
    }, WAIT);
  });

  it('answers /healthz with 503 while its thread is held, and not after', async () => {
    const status = async () => (await app.inject({ url: '/healthz' })).statusCode;
    while ((await status()) === 200) {
      hold(600);
      await turn();
    }
    // Strangers get no reason.
    expect((await app.inject({ url: '/healthz' })).json()).toEqual({ ok: false });
    expect((await health.report('live')).checks).toMatchObject({
      event_loop: { ok: false, detail: expect.stringContaining('ms late') as string },
    });
    await vi.waitFor(async () => {
      expect(await status()).toBe(200);
    }, WAIT);
  });
});
