import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { describe, expect, it } from 'vitest';
import { createDecoder } from './decode-event.js';
import type { Poison } from './decode-event.js';
import { EventView } from './event-view.generated.js';

const START = Date.UTC(2026, 0, 1);
const [started] = sessionLog({ random: seededRandom(1), startMs: START });
const event = started as SessionEvent;

function decode(value: string | Buffer | null): { poison: Poison | null; view: EventView } {
  const view = new EventView();
  const bytes = value === null ? Buffer.alloc(0) : Buffer.from(value as string);
  return { poison: createDecoder(view).decode(bytes, 0, value === null ? -1 : bytes.length), view };
}

describe('decode', () => {
  it.each([
    ['null_value', null],
    ['not_json', ''],
    ['not_json', 'not json'],
    ['not_json', '"text"'],
    ['not_json', '[]'],
    ['not_json', 'null'],
    ['not_json', Buffer.from([0x22, 0xff, 0x22])],
    ['not_json', '['.repeat(10_000)],
    ['newer_version', JSON.stringify({ ...event, schema_version: 2 })],
    ['newer_version', '{"schema_version":9}'],
    ['invalid', JSON.stringify({ ...event, schema_version: 0 })],
    ['invalid', JSON.stringify({ ...event, schema_version: '1' })],
    ['invalid', JSON.stringify({ ...event, bytes_sent: 1e18 })],
    ['invalid', JSON.stringify({ ...event, bytes_sent: '5' })],
    ['invalid', JSON.stringify({ ...event, user: 'x\ud800y' })],
    ['invalid', JSON.stringify({ ...event, type: 'constructor' })],
    ['invalid', '{}'],
    ['too_large', JSON.stringify({ ...event, user: 'x'.repeat(20_000) })],
  ] as const)('an invalid record is refused with the reason %s', (reason, value) => {
    expect(decode(value).poison?.reason).toBe(reason);
  });

  it('a refusal names the field that breaks the contract, in a bounded sentence', () => {
    expect(decode(JSON.stringify({ ...event, source_ip: 'here' })).poison?.detail).toMatch(
      /^source_ip: /,
    );
    const wrong = Object.fromEntries(Object.keys(event).map((name) => [name, {}]));
    expect(decode(JSON.stringify({ ...wrong, type: event.type })).poison?.detail.length).toBe(500);
  });

  it('the fields of a newer producer are ignored and counted', () => {
    const counted: [string, number][] = [];
    const view = new EventView();
    const decoder = createDecoder(view, (...unknown) => counted.push(unknown));
    const newer = sessionLog({ random: seededRandom(1), startMs: START, intervals: 1 }).map(
      (each) => ({
        ...each,
        country: 'DE',
        ...('delta' in each ? { delta: { ...each.delta, bytes_dropped: 7 } } : {}),
      }),
    );
    for (const each of newer) {
      const bytes = Buffer.from(JSON.stringify(each));
      expect(decoder.decode(bytes, 0, bytes.length)).toBeNull();
      expect(view.seq).toBe(each.seq);
    }
    expect(counted.slice(0, 2)).toEqual([
      ['SessionStarted', 1],
      ['TrafficDelta', 2],
    ]);
  });

  it('events of other emitters are read: other order, white space, escapes, any script', () => {
    const reordered = Object.fromEntries(Object.entries(event).toReversed());
    const user = 'Zoë "☂" 𝄞';
    const { poison, view } = decode(JSON.stringify({ ...reordered, user }, null, 2));
    expect(poison).toBeNull();
    expect(
      Buffer.from(view.text).toString('utf8', view.userStart, view.userStart + view.userLength),
    ).toBe(user);
  });
});
