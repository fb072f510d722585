import { setTimeout as delay } from 'node:timers/promises';
import { createLogger, createRegistry } from '@sockscope/runtime';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Query } from '../sql/query.js';
import type { Store } from '../store/store.js';
import type { LiveEvent, Position } from './event.js';
import { createHub } from './hub.js';
import type { Hub, Listener } from './hub.js';
import { createStreamMetrics } from './metrics.js';

const WAIT = { timeout: 60_000 };
const BEGIN_MS = Date.parse('2026-05-04T12:00:00.000Z');

/** The events of the database, by the time of storing, and its clock. */
let stored: { seq: number; ingested_at: string; session_id: string; type: string }[] = [];
let nowMs = BEGIN_MS;
let hub: Hub;

let isAway = false;

const store: Store = {
  askWithin: async () => null,
  async ask(query: Query) {
    if (isAway) throw new Error('the database is away');
    if (query.name === 'clock') return [{ now: new Date(nowMs).toISOString() }] as never;
    const { since, after_seq } = query.params as { since: number; after_seq?: number };
    return stored.filter(
      (row) => Date.parse(row.ingested_at) >= since && row.seq > (after_seq ?? -1),
    ) as never;
  },
  ping: async () => undefined,
};

/** The next event is stored now, and a little later it is later. */
function storeEvent(): void {
  nowMs += 1_000;
  stored.push({
    seq: stored.length,
    type: 'TrafficDelta',
    session_id: '019df0e6-ba3e-7652-b15f-f99bc07973ef',
    ingested_at: new Date(nowMs).toISOString(),
  });
}

interface Heard extends Listener {
  readonly seqs: number[];
  readonly got: LiveEvent[];
}

function listener(): Heard {
  const seqs: number[] = [];
  const got: LiveEvent[] = [];
  return {
    seqs,
    got,
    events(events) {
      got.push(...events);
      seqs.push(...events.map((event) => event.session.seq));
    },
    gap: () => undefined,
  };
}

function start(): void {
  stored = [];
  isAway = false;
  nowMs = BEGIN_MS;
  const registry = createRegistry('query');
  hub = createHub(
    {
      clients_max: 10,
      clients_per_key_max: 10,
      buffer_max_bytes: 1_000_000,
      poll_interval_ms: 5,
      catch_up_max_ms: 60_000,
      counters_interval_ms: 1_000,
    },
    {
      store,
      logger: createLogger('query', { level: 'silent' }),
      metrics: createStreamMetrics(registry),
    },
  );
  hub.start();
}

afterEach(async () => {
  await hub.stop();
});

/** The position of a client that has read all its frames. */
function positionOf({ got }: Heard): Position {
  const last = got.at(-1);
  if (last === undefined || last.n === null) throw new Error('a live event is needed');
  return { storedMs: last.storedMs, within: { hub: hub.name, n: last.n } };
}

/** The events that a reconnecting client gets after one was stored while nobody listened; null if somebody did. */
async function comeBack(pauseMs: number): Promise<{ given: number[]; missed: number[] } | null> {
  start();
  const first = listener();
  const leave = await hub.join(first, null);
  storeEvent();
  await vi.waitFor(() => {
    expect(first.seqs).toEqual([0]);
  }, WAIT);
  leave();
  await delay(pauseMs);
  storeEvent();
  nowMs += 10_000;
  const other = listener();
  await hub.join(other, null);
  storeEvent();
  await vi.waitFor(() => {
    expect(other.seqs).toContain(2);
  }, WAIT);
  // The polls had not stopped yet.
  if (other.seqs.includes(1)) {
    await hub.stop();
    return null;
  }
  const again = listener();
  await hub.join(again, positionOf(first));
  return { given: again.seqs.filter((seq) => seq > 0), missed: [1, 2] };
}

describe('the hub of the live stream', () => {
  it('gives a returning client the events stored while nobody listened, although others came before', async () => {
    let back = null;
    for (let ms = 10; back === null && ms < 5_000; ms *= 2) back = await comeBack(ms);
    expect(back?.given).toEqual(back?.missed);
  });

  it('refuses a client at once if the database cannot be asked, and takes it when it can', async () => {
    start();
    isAway = true;
    await expect(hub.join(listener(), null)).rejects.toMatchObject({
      code: 'store-unavailable',
      cause: new Error('the database is away'),
    });
    isAway = false;
    await hub.join(listener(), null);
  });
});
