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
import type { View } from './views.js';

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

const ANOTHER_ID = '019c0f6e-7a00-7c3e-9d51-3f2a10b4c5d7';
const YOUNG_ID = '019c0f6e-7a00-7c3e-9d51-3f2a10b4c5d8';

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
  vi.restoreAllMocks();
});

/** Views over a hub and a store that the test plays. */
function createTestViews() {
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
  const frames: LiveWindow[] = [];
  const join = async (rows: readonly ActiveRow[], view: View = VIEW) => {
    const joined = views.join(view, (text) => {
      const [, data = ''] = /^data: (.*)$/m.exec(text) ?? [];
      frames.push(JSON.parse(data) as LiveWindow);
    });
    await vi.advanceTimersByTimeAsync(0);
    reads.at(-1)?.(rows);
    return joined;
  };
  return { views, join, frames, listeners, reads };
}

it('a viewer sees no session of a refresh that began before the viewers left', async () => {
  const { views, join, frames, listeners, reads } = createTestViews();
  const leave = await join([OPEN]);
  listeners[0]?.gap(NOW_MS, NOW_MS);
  await vi.advanceTimersByTimeAsync(RELOAD_MS);
  const [, refresh] = reads;
  leave();
  frames.length = 0;
  // Meanwhile the session has ended.
  await join([]);
  refresh?.([OPEN]);
  await vi.advanceTimersByTimeAsync(RELOAD_MS);
  expect([...new Set(frames.map(({ total }) => total))]).toEqual([0]);
  views.stop();
});

it('after a gap, frames show the known sessions until the open ones are read', async () => {
  const { views, join, frames, listeners, reads } = createTestViews();
  await join([OPEN, { ...OPEN, session_id: ANOTHER_ID }]);
  frames.length = 0;
  listeners[0]?.gap(NOW_MS, NOW_MS);
  // The first session ended in the gap. Until that is known, no frame may seem empty.
  await vi.advanceTimersByTimeAsync(2 * RELOAD_MS);
  const heard = { ...OPEN, session_id: YOUNG_ID, seq: 0 };
  listeners[0]?.events([{ type: 'started', n: 0, storedMs: NOW_MS, session: heard }]);
  reads.at(-1)?.([{ ...OPEN, session_id: ANOTHER_ID }]);
  await vi.advanceTimersByTimeAsync(1_000);
  const ids = frames.map(({ items }) => items.map((item) => item.session_id).toSorted());
  expect(new Set(ids.slice(0, -1).map((each) => each.join()))).toEqual(
    new Set([[ANOTHER_ID, OPEN.session_id].toSorted().join()]),
  );
  expect(ids.at(-1)).toEqual([ANOTHER_ID, YOUNG_ID].toSorted());
  views.stop();
});

it('between two views, others have their turn on the thread', async () => {
  const { views, join, frames } = createTestViews();
  const turns: string[] = [];
  const viewOf = (name: string): View => ({
    ...VIEW,
    name,
    matches() {
      turns.push(name);
      setImmediate(() => turns.push('others'));
      return true;
    },
  });
  await join([OPEN], viewOf('one'));
  await join([], viewOf('two'));
  turns.length = 0;
  frames.length = 0;
  await vi.advanceTimersByTimeAsync(1_500);
  expect(frames).toHaveLength(2);
  expect(turns.slice(0, 3)).toEqual(['one', 'others', 'two']);
  views.stop();
});

it('frames that take long to make come every 2 and then every 5 s, and every second again when they do not', async () => {
  let clockMs = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => clockMs);
  let tookMs = 0;
  const { views, join, frames } = createTestViews();
  await join([OPEN], {
    ...VIEW,
    matches: () => {
      clockMs += tookMs;
      return true;
    },
  });
  const pacesIn = async (ms: number) => {
    frames.length = 0;
    await vi.advanceTimersByTimeAsync(ms);
    return frames.map(({ every_ms }) => every_ms);
  };
  expect(await pacesIn(3_000)).toEqual([1_000, 1_000, 1_000]);
  tookMs = 300;
  // A frame shows the pace at which it came, and the next ones come less often.
  expect(await pacesIn(5_000)).toEqual([1_000, 2_000, 2_000]);
  tookMs = 600;
  expect(await pacesIn(12_000)).toEqual([2_000, 5_000, 5_000]);
  tookMs = 90;
  expect(await pacesIn(8_000)).toEqual([5_000, 2_000, 1_000]);
  expect(await pacesIn(2_000)).toEqual([1_000, 1_000]);
  views.stop();
});
