import { createLogger } from '@sockscope/runtime';
import type { LiveWindow } from '@sockscope/schemas/api';
import { streamSessionExample } from '@sockscope/schemas/api';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { NO_MASK } from '../mask/mask.js';
import { presenterOf } from '../mask/presenter.js';
import type { ActiveRow } from '../sql/active.js';
import { asStored } from '../sql/stored.js';
import type { Store } from '../store/store.js';
import type { Hub, Listener } from './hub.js';
import { createViews } from './views.js';

const NOW_MS = Date.parse('2026-03-15T12:00:00.000Z');
const RELOAD_MS = 2_000;

const { seq: _seq, ...session } = streamSessionExample;
const OPEN = {
  ...session,
  updated_at: new Date(NOW_MS).toISOString(),
  user: asStored('alice'),
  source_ip: asStored('192.0.2.1'),
  recent_sent: 0,
  recent_received: 0,
} as ActiveRow;

const VIEW = {
  name: 'all',
  matches: () => true,
  sort: 'rate',
  limit: 10,
  presenter: presenterOf(NO_MASK),
} as const;

beforeEach(() => {
  vi.useFakeTimers({ now: NOW_MS });
});
afterEach(() => {
  vi.useRealTimers();
});

it('a viewer sees no session of a refresh that began before the viewers left', async () => {
  const listeners: Listener[] = [];
  const hub = {
    name: 'h',
    start: () => undefined,
    stop: async () => undefined,
    join: async (listener: Listener) => {
      listeners.push(listener);
      return () => undefined;
    },
  } as Hub;
  const reads: ((rows: readonly ActiveRow[]) => void)[] = [];
  const store = {
    ask: () =>
      new Promise((resolve) => {
        reads.push(resolve);
      }),
  } as unknown as Store;
  const logger = createLogger('query', { level: 'silent' });
  const views = createViews({ hub, store, logger, now: () => NOW_MS });
  const totals: number[] = [];
  const join = async (rows: readonly ActiveRow[]) => {
    const joined = views.join(VIEW, (text) => {
      const [, data = ''] = /^data: (.*)$/m.exec(text) ?? [];
      totals.push((JSON.parse(data) as LiveWindow).total);
    });
    await vi.advanceTimersByTimeAsync(0);
    reads.at(-1)?.(rows);
    return joined;
  };

  const leave = await join([OPEN]);
  listeners[0]?.gap(NOW_MS, NOW_MS);
  await vi.advanceTimersByTimeAsync(RELOAD_MS);
  const [, refresh] = reads;
  leave();
  totals.length = 0;
  // Meanwhile the session has ended.
  await join([]);
  refresh?.([OPEN]);
  await vi.advanceTimersByTimeAsync(RELOAD_MS);
  expect([...new Set(totals)]).toEqual([0]);
  views.stop();
});
