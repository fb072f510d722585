import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EVENT_LIMITS, sessionEvent, toTimestamp } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { partsOf } from './event-parts.js';
import { frameBytesOf } from './frame.js';
import { putTime, TIME_LENGTH } from './json.js';
import { eventOf, jsonOf } from './testing/event-of.js';
import { hostileLogs } from './testing/hostile-log.js';

const events: SessionEvent[] = hostileLogs(7, 400).flat();

/** The event with its fields in the schema's order, which `parse` gives them. */
function inSchemaOrder(event: SessionEvent): SessionEvent {
  return sessionEvent.parse(event);
}

describe('the JSON of an event', () => {
  it('equals JSON.stringify, for every type and any text', () => {
    expect(new Set(events.map((e) => e.type)).size).toBe(3);
    for (const event of events) {
      expect(jsonOf(partsOf(event))).toBe(JSON.stringify(inSchemaOrder(event)));
    }
  });

  it('has every number that JSON has', () => {
    const [delta] = events.map(inSchemaOrder).filter((event) => event.type === 'TrafficDelta');
    if (delta === undefined) throw new Error('no delta');
    for (const exponent of Array.from({ length: 54 }, (_, i) => i)) {
      for (const number of [2 ** exponent - 1, 2 ** exponent, 10 ** Math.min(exponent, 15)]) {
        const event = {
          ...delta,
          bytes_sent: number,
          delta: { ...delta.delta, packets_sent: number },
        };
        expect(jsonOf(partsOf(event))).toBe(JSON.stringify(event));
      }
    }
  });

  it('is the same event again when decoded', () => {
    for (const event of events) {
      expect(sessionEvent.parse(eventOf(partsOf(event)))).toEqual(event);
    }
  });

  it('has the replacement character for half a surrogate pair, because a database would refuse the event', () => {
    for (const user of ['\ud800', 'a\udfff', '\ud800\ud800 "']) {
      const [event] = events.map((each) => ({ ...each, user }));
      if (event === undefined) throw new Error('no event');
      expect(sessionEvent.parse(eventOf(partsOf(event))).user).toBe(Buffer.from(user).toString());
    }
  });

  it('stays below the limit of the contract with the longest texts that escape worst, and so does the frame', () => {
    for (const character of ['\u0001', '日']) {
      const longest: SessionEvent[] = events.slice(0, 20).map((event) => ({
        ...event,
        user: character.repeat(EVENT_LIMITS.user_chars),
        dest_host: character.repeat(EVENT_LIMITS.dest_host_chars),
        acl_rule_matched: character.repeat(EVENT_LIMITS.acl_rule_chars),
        proxy_id: character.repeat(EVENT_LIMITS.proxy_id_chars),
      }));
      for (const event of longest) {
        expect(Buffer.byteLength(jsonOf(partsOf(event)))).toBeLessThan(EVENT_LIMITS.event_bytes);
        expect(frameBytesOf(partsOf(event)).length).toBeLessThan(EVENT_LIMITS.event_bytes);
      }
    }
  });
});

const time = fc.integer({ min: EVENT_LIMITS.earliest_ms, max: EVENT_LIMITS.latest_ms - 1 });

it('a time equals toISOString, in any order of times', () => {
  const out = Buffer.alloc(TIME_LENGTH);
  fc.assert(
    fc.property(time, fc.array(fc.integer({ min: -99_000, max: 99_000 })), (start, steps) => {
      for (const step of [0, ...steps]) {
        expect(putTime(out, 0, start + step)).toBe(TIME_LENGTH);
        expect(out.toString()).toBe(toTimestamp(start + step));
      }
    }),
  );
});
