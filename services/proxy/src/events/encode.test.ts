import { describe, expect, it } from 'vitest';
import { EVENT_LIMITS, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { encodeEvent } from './encode.generated.js';
import { decodeEvent, envelopeOf } from './envelope.js';
import { hostileLogs } from './testing/hostile-log.js';

const events: SessionEvent[] = hostileLogs(7, 400).flat();

/** The event with its fields in the schema's order, which `parse` gives them. */
function inSchemaOrder(event: SessionEvent): SessionEvent {
  return sessionEvent.parse(event);
}

describe('an encoded event', () => {
  it('is what JSON.stringify makes of it, for every type and any text', () => {
    expect(new Set(events.map((e) => e.type)).size).toBe(3);
    for (const event of events) {
      expect(encodeEvent(event)).toBe(JSON.stringify(inSchemaOrder(event)));
    }
  });

  it('is the same event again when decoded', () => {
    for (const event of events) {
      expect(decodeEvent(Buffer.from(encodeEvent(event)))).toEqual(event);
    }
  });

  it('gives its envelope without being parsed, though texts in it imitate fields', () => {
    for (const event of events) {
      expect(envelopeOf(Buffer.from(encodeEvent(event)))).toEqual({
        type: event.type,
        sessionId: event.session_id,
        seq: event.seq,
        occurredAt: event.occurred_at,
        proxyId: event.proxy_id,
      });
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
      expect(Buffer.byteLength(encodeEvent(event))).toBeLessThan(EVENT_LIMITS.event_bytes);
    }
  });
});

describe('what is not an encoded event', () => {
  it.each([
    ['nothing', ''],
    ['other JSON', '{"a":1}'],
    ['an unknown type', '{"type":"SessionForgot","schema_version":1}'],
    ['another version', '{"type":"SessionStarted","schema_version":2,"occurred_at":"x'],
    ['a cut one', encodeEvent(events[0] as SessionEvent).slice(0, 100)],
  ])('has no envelope and does not decode: %s', (_name, text) => {
    expect(envelopeOf(Buffer.from(text))).toBeNull();
    expect(decodeEvent(Buffer.from(text))).toBeNull();
  });
});
