import { toTimestamp } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import type { SessionsAtPage } from '@sockscope/schemas/api';
import '@sockscope/runtime/testing';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { createTestApp } from '../../testing/app.js';
import type { TestApp } from '../../testing/app.js';
import { createTestDatabase } from '../../testing/database.js';
import type { TestDatabase } from '../../testing/database.js';
import { insertBatch } from '../../testing/load.js';
import { makeEvents } from '../../testing/world.js';

const NOW_MS = Date.parse('2026-03-15T13:37:12.345Z');
const MINUTE_MS = 60_000;
const STARTED_MS = NOW_MS - 60 * MINUTE_MS;
const AT_MS = NOW_MS - 10 * MINUTE_MS;
/** Open sessions that moved nothing before that time: more than candidates of a ranking by bytes. */
const LATER = 1_200;

let database: TestDatabase;
let api: TestApp;

/** A UUIDv7 of the start. */
function idOf(n: number): string {
  const ms = STARTED_MS.toString(16).padStart(12, '0');
  return `${ms.slice(0, 8)}-${ms.slice(8)}-7000-8000-${String(n).padStart(12, '0')}`;
}
/** The one that moved all of its bytes in the minute of that time, and has fewest now. */
const EARLY = idOf(9_999);

beforeAll(async () => {
  database = await createTestDatabase(inject('clickhouseUrl'));
  const models = makeEvents({ seed: 5, sessions: 30, fromMs: STARTED_MS, toMs: NOW_MS });
  const model = models.find((event) => event.type === 'TrafficDelta');
  if (model?.type !== 'TrafficDelta') throw new TypeError('the world has traffic');
  const nothing = { bytes_received: 0, packets_sent: 0, packets_received: 0 };
  const moved = (session_id: string, endMs: number, bytes_sent: number): SessionEvent => {
    const counters = { bytes_sent, ...nothing };
    return {
      ...model,
      session_id,
      started_at: toTimestamp(STARTED_MS),
      occurred_at: toTimestamp(endMs),
      interval_start: toTimestamp(endMs - 5_000),
      interval_end: toTimestamp(endMs),
      ...counters,
      delta: counters,
      minute: counters,
    };
  };
  await insertBatch(database.clickhouse, [
    moved(EARLY, AT_MS, 500),
    ...Array.from({ length: LATER }, (_, n) => moved(idOf(n), NOW_MS, 1_000_000 + n)),
  ]);
  api = await createTestApp(database.clickhouse, { now: () => NOW_MS });
});

afterAll(async () => {
  await api.close();
  await database.drop();
});

const at = (sort: string) =>
  api.get<SessionsAtPage>(`/api/v1/sessions?at=${AT_MS}&limit=10&sort=${sort}`);

it('a ranking by rate covers all that were open, also beyond the candidates of a ranking by bytes', async () => {
  const { items, total, ranking } = await at('rate');
  expect({ first: items[0]?.session_id, total, ranking }).toEqual({
    first: EARLY,
    total: LATER + 1,
    ranking: 'exact',
  });
});

it('a ranking by bytes says that it is bounded if a session that was not ranked may have had more', async () => {
  const { total, ranking } = await at('bytes');
  expect({ total, ranking }).toEqual({ total: LATER + 1, ranking: 'bounded' });
});
