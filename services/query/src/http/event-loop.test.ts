import { setImmediate as turn } from 'node:timers/promises';
import { createHealth } from '@sockscope/runtime';
import { fastify } from 'fastify';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createEventLoopWatch } from './event-loop.js';
import type { EventLoopWatch } from './event-loop.js';
import { serveOperations } from './operations.js';

/** Other tests beside this one may hold it for a second, too. */
const LIMITS = { window_ms: 1_000, overloaded_ms: 30, stuck_ms: 3_000 };

/** Longer than a busy machine delays a timer by itself. */
const HELD_MS = 2_000;

let watch: EventLoopWatch;

beforeEach(() => {
  watch = createEventLoopWatch(LIMITS);
  watch.start();
});

afterEach(() => {
  watch.stop();
});

/** Nothing else of this process runs meanwhile, and no core is kept busy. */
function hold(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

describe('the watch over the event loop', () => {
  it('reports overload while timers keep coming late, and its end', async () => {
    expect(watch.isOverloaded()).toBe(false);
    while (!watch.isOverloaded()) {
      hold(60);
      await turn();
    }
    expect(watch.check().ok).toBe(true);
    await vi.waitFor(() => {
      expect(watch.isOverloaded()).toBe(false);
    }, 60_000);
  });

  it('shows how long a request may have waited for the thread', async () => {
    await vi.waitFor(() => {
      expect(watch.lateMs()).toBeLessThan(HELD_MS);
    }, 60_000);
    hold(HELD_MS + 100);
    expect(watch.lateMs()).toBeGreaterThanOrEqual(HELD_MS);
    // The timers come first, then the sockets of what arrived meanwhile.
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 0);
    });
    expect(watch.lateMs()).toBeGreaterThanOrEqual(HELD_MS);
    await vi.waitFor(() => {
      expect(watch.lateMs()).toBeLessThan(HELD_MS);
    }, 60_000);
  });

  it('makes /healthz a 503 after the thread was held, until it continues as before', async () => {
    const health = createHealth();
    health.add('live', 'event_loop', () => watch.check());
    const app = fastify();
    serveOperations(app, { health });
    const status = async () => (await app.inject({ url: '/healthz' })).statusCode;
    expect(await status()).toBe(200);
    await turn();
    hold(LIMITS.stuck_ms + 100);
    await vi.waitFor(
      async () => {
        const response = await app.inject({ url: '/healthz' });
        expect(response.statusCode).toBe(503);
        // Strangers get no reason.
        expect(response.json()).toEqual({ ok: false });
      },
      { timeout: 60_000, interval: 5 },
    );
    await vi.waitFor(async () => {
      expect(await status()).toBe(200);
    }, 60_000);
    await app.close();
  });
});
