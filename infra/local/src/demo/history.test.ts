import { brokenRule, sessionEvent, sessionStartMs } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { expect, test } from 'vitest';
import type { Land } from './cast.js';
import { history, HISTORY_DAYS, HISTORY_EVENTS_MAX } from './history.js';

const DAY_MS = 86_400_000;
/** The end of a history with unknown names in the last milliseconds of a minute. */
const END_MS = Date.UTC(2026, 10, 24, 12, 20);
const land: Land = { network: '127.200', ports: { https: 443, http: 80, ssh: 22, imaps: 993 } };

const options = { endMs: END_MS, land, proxyId: 'gate-1' };
const days = [...history(options)];
const events = days.flat();

test('the history reaches back over two calendar months with a bounded number of events', () => {
  expect(events.length).toBeGreaterThan(100_000);
  expect(events.length).toBeLessThanOrEqual(HISTORY_EVENTS_MAX);
  const starts = events.map((event) => Date.parse(event.started_at));
  const first = starts.reduce((a, b) => Math.min(a, b));
  expect(first).toBeLessThan(END_MS - (HISTORY_DAYS - 1) * DAY_MS);
  expect(first).toBeGreaterThanOrEqual(END_MS - HISTORY_DAYS * DAY_MS);
});

test('the newest day of the history comes first', () => {
  const dates = days.map((day) => day[0]?.started_at.slice(0, 10));
  expect(dates).toHaveLength(HISTORY_DAYS + 1);
  expect(dates).toEqual(dates.toSorted((a = '', b = '') => b.localeCompare(a)));
});

test('every session of the history has one start, then one end, before the history ends', () => {
  const wrong: string[] = [];
  let open = '';
  for (const event of events) {
    if (event.type === 'SessionStarted' ? open !== '' : open !== event.session_id) {
      wrong.push(event.session_id);
    }
    open = event.type === 'SessionClosed' ? '' : event.session_id;
    if (event.type === 'SessionClosed' && Date.parse(event.ended_at) >= END_MS) wrong.push(open);
  }
  expect(wrong).toEqual([]);
  expect(open).toBe('');
});

test('the events of the history obey every rule of the contract', () => {
  const some = days.flatMap((day, index) => day.slice(0, index === 0 ? 1_500 : 20));
  for (const event of some) expect(sessionEvent.parse(event)).toEqual(event);
  // The rules between fields break rarely, such as an interval that crosses a minute: all are looked at.
  expect(events.flatMap((event) => brokenRule(event) ?? [])).toEqual([]);
});

test('the minutes of a session add up to its totals', () => {
  const wrong: SessionEvent[] = [];
  let sum = 0;
  for (const event of events) {
    sum = event.type === 'SessionStarted' ? 0 : sum + event.minute.bytes_received;
    if (sum !== event.bytes_received) wrong.push(event);
  }
  expect(wrong).toEqual([]);
});

test('the same history has the same events, so that a restart adds nothing', () => {
  const again = history(options).next().value ?? [];
  expect(again).toHaveLength(days[0]?.length ?? -1);
  expect(again.slice(-500)).toEqual(days[0]?.slice(-500));
});

test('an id names a session once', () => {
  const ids = events.filter(({ type }) => type === 'SessionStarted').map((each) => each.session_id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.filter((id) => sessionStartMs(id) > END_MS)).toEqual([]);
});

test('more happens by day than by night, and on Tuesday than on Sunday', () => {
  const count = (prefix: string, of: readonly SessionEvent[]): number =>
    of.filter(({ type, started_at }) => type === 'SessionStarted' && started_at.includes(prefix))
      .length;
  const weekday = days.find((day) => day[0]?.started_at.startsWith('2026-11-17')) ?? [];
  expect(count('T10:', weekday)).toBeGreaterThan(3 * count('T02:', weekday));
  expect(count('2026-11-17', events)).toBeGreaterThan(2 * count('2026-11-15', events));
});
