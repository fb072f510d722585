import { createHealth, Registry } from '@sockscope/runtime';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { CountShare } from './count-share.js';
import { createWorkerLink } from './link.js';
import type { FromWorker } from './messages.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it.each([-3_600_000, 0, 3_600_000])(
  'a worker without news sends signs of life although the clock on the wall is set by %i ms',
  async (stepMs) => {
    const sent: FromWorker[] = [];
    const link = createWorkerLink({
      port: { send: (message) => sent.push(message), onMessage: () => undefined },
      share: new CountShare(),
      health: createHealth(),
      registry: new Registry(),
      onStop: () => undefined,
      onReload: () => undefined,
    });
    link.start();
    await vi.advanceTimersByTimeAsync(3_000);
    sent.length = 0;
    vi.setSystemTime(Date.now() + stepMs);
    await vi.advanceTimersByTimeAsync(20_000);
    link.stop();
    expect(sent.map(({ kind }) => kind)).toEqual(Array.from({ length: 10 }, () => 'holds'));
  },
);
