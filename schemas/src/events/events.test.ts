import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom, sessionLog } from '../testing/session-log.js';
import { CLOSE_REASONS, statusOf } from './close-reason.js';
import { cloudEventHeaders } from './cloud-events.js';
import { sessionEvent } from './events.js';
import type { SessionEvent } from './events.js';
import { sessionStartMs } from './session-id.js';

const START = Date.parse('2026-03-01T12:34:56.789Z');

function sample(): SessionEvent[] {
  return sessionLog({ random: seededRandom(7), startMs: START, intervals: 4, closed: true });
}
function refusal(event: unknown): string {
  const result = sessionEvent.safeParse(event);
  return result.success
    ? ''
    : result.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ');
}
const closed = () => sample().at(-1) as SessionEvent & { type: 'SessionClosed' };
const delta = () => sample()[1] as SessionEvent & { type: 'TrafficDelta' };

describe('the event contract', () => {
  it('accepts every event of any session that follows the rules, and keeps it as it is', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 0, max: 86_400_000 }), (seed, offset) => {
        for (const event of sessionLog({ random: seededRandom(seed), startMs: START + offset })) {
          expect(sessionEvent.parse(JSON.parse(JSON.stringify(event)))).toEqual(event);
        }
      }),
    );
  });

  it.each<[string, () => unknown, RegExp]>([
    ['an unknown type', () => ({ ...delta(), type: 'Other' }), /type/],
    ['a newer schema version', () => ({ ...delta(), schema_version: 2 }), /schema_version/],
    ['a counter above 2^53-1', () => ({ ...delta(), bytes_sent: 2 ** 53 }), /bytes_sent/],
    ['a negative counter', () => ({ ...delta(), bytes_sent: -1 }), /bytes_sent/],
    [
      'a time that does not exist',
      () => ({ ...delta(), occurred_at: '2026-02-30T00:00:00.000Z' }),
      /occurred_at/,
    ],
    [
      'a time without milliseconds',
      () => ({ ...delta(), occurred_at: '2026-02-20T00:00:00Z' }),
      /occurred_at/,
    ],
    [
      'a start that the id does not carry',
      () => ({ ...delta(), started_at: '2026-03-01T12:34:56.788Z' }),
      /started_at/,
    ],
    ['a user without a letter', () => ({ ...delta(), user: '' }), /user/],
    ['an overlong destination', () => ({ ...delta(), dest_host: 'a'.repeat(1025) }), /dest_host/],
    ['a lone surrogate in a text', () => ({ ...delta(), user: 'x\ud800y' }), /user/],
    ['a source that is no address', () => ({ ...delta(), source_ip: '1.2.3' }), /source_ip/],
    [
      'a status that the reason does not imply',
      () => ({ ...closed(), status: 'failed' }),
      /status/,
    ],
    [
      'a delta above its minute',
      () => ({ ...delta(), delta: { ...delta().delta, bytes_sent: 1e9 } }),
      /delta/,
    ],
    [
      'a minute above the total',
      () => ({ ...delta(), minute: { ...delta().minute, bytes_sent: 1e9 } }),
      /minute/,
    ],
    [
      'an interval across a minute',
      () => ({ ...delta(), interval_end: '2026-03-01T12:35:00.001Z' }),
      /interval_end/,
    ],
    [
      'an interval that ends before it starts',
      () => ({ ...delta(), interval_end: '2026-03-01T12:34:00.000Z' }),
      /interval_end/,
    ],
    ['a first event that is no start', () => ({ ...delta(), seq: 0 }), /seq/],
    ['a start that is not first', () => ({ ...sample()[0], seq: 1 }), /seq/],
    ['nothing', () => null, /./],
    ['a list', () => [delta()], /./],
  ])('refuses %s, naming the field', (_, make, named) => {
    expect(refusal(make())).toMatch(named);
  });

  it('ignores a field that it does not know, so that a producer can be newer than a consumer', () => {
    expect(sessionEvent.parse({ ...delta(), extra: 1 })).toEqual(delta());
  });

  it('gives every close reason exactly one final status', () => {
    for (const reason of CLOSE_REASONS) {
      expect(['closed', 'failed', 'rejected_by_acl']).toContain(statusOf(reason));
    }
  });

  it('identifies an event permanently by its CloudEvents id', () => {
    const event = closed();
    expect(cloudEventHeaders(event, '00-a-b-01')).toMatchObject({
      ce_id: `${event.session_id}/${event.seq}`,
      ce_type: 'sockscope.SessionClosed.v1',
      traceparent: '00-a-b-01',
    });
  });

  it('reads the start of a session from its id', () => {
    expect(sessionStartMs(closed().session_id)).toBe(START);
  });
});
