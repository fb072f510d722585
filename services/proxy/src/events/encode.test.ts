import { describe, expect, it } from 'vitest';
import { EVENT_LIMITS, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { partsOf } from './event-parts.js';
import { encodeEvent } from './frame.js';
import { hostileLogs } from './testing/hostile-log.js';

const events: SessionEvent[] = hostileLogs(7, 400).flat();

/** The event with its fields in the schema's order, which `parse` gives them. */
function inSchemaOrder(event: SessionEvent): SessionEvent {
  return sessionEvent.parse(event);
}

describe('an encoded event', () => {
  it('equals JSON.stringify, for every type and any text', () => {
    expect(new Set(events.map((e) => e.type)).size).toBe(3);
    for (const event of events) {
      expect(encodeEvent(partsOf(event)).toString()).toBe(JSON.stringify(inSchemaOrder(event)));
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
        expect(encodeEvent(partsOf(event)).toString()).toBe(JSON.stringify(event));
      }
    }
  });

  it('is the same event again when decoded', () => {
    for (const event of events) {
      // A lone surrogate has no UTF-8: JSON escapes it, so it survives.
      const decoded: unknown = JSON.parse(encodeEvent(partsOf(event)).toString());
      expect(sessionEvent.parse(decoded)).toEqual(event);
    }
  });

  it('stays below the limit of the contract with the longest texts that escape worst', () => {
    const longest: SessionEvent[] = events.slice(0, 20).map((event) => ({
      ...event,
      user: '\u0001'.repeat(EVENT_LIMITS.user_chars),
      dest_host: '\u0001'.repeat(EVENT_LIMITS.dest_host_chars),
      acl_rule_matched: '\u0001'.repeat(EVENT_LIMITS.acl_rule_chars),
      proxy_id: '\u0001'.repeat(EVENT_LIMITS.proxy_id_chars),
    }));
    for (const event of longest) {
      expect(encodeEvent(partsOf(event)).length).toBeLessThan(EVENT_LIMITS.event_bytes);
    }
  });
});
