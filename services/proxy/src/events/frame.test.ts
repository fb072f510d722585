import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SessionEvent } from '@sockscope/schemas';
import { partsOf } from './event-parts.js';
import { encodeEvent, FrameWriter, scanFrames } from './frame.js';
import { hostileLogs } from './testing/hostile-log.js';

const events: SessionEvent[] = hostileLogs(3, 40).flat();

function framesOf(some: readonly SessionEvent[]): Buffer {
  const writer = new FrameWriter();
  for (const event of some) writer.add(partsOf(event));
  return Buffer.from(writer.take());
}

describe('a frame', () => {
  it('has the fields of its event that a record of Kafka needs, although texts imitate fields', () => {
    const frames = scanFrames(framesOf(events));
    expect(frames).toHaveLength(events.length);
    expect(frames.at(-1)?.end).toBe(framesOf(events).length);
    frames.forEach((frame, i) => {
      const event = events[i] as SessionEvent;
      expect(frame.type).toBe(event.type);
      expect(frame.seq).toBe(event.seq);
      expect(frame.sessionId).toBe(event.session_id);
      expect(frame.occurredAtMs).toBe(Date.parse(event.occurred_at));
      expect(frame.payload.toString()).toBe(encodeEvent(partsOf(event)).toString());
    });
  });

  it('of which something is missing ends the scan, and all before it are read', () => {
    const [first, second] = events as [SessionEvent, SessionEvent];
    const whole = framesOf([first, second]);
    const firstBytes = framesOf([first]).length;
    for (let cut = 0; cut < whole.length; cut += 1) {
      const frames = scanFrames(whole.subarray(0, cut));
      expect(frames.map(({ end }) => end)).toEqual(cut < firstBytes ? [] : [firstBytes]);
    }
  });

  it('with any byte changed is no frame', () => {
    const whole = framesOf(events.slice(0, 1));
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const broken = Buffer.from(whole);
        broken[at] = (broken[at] ?? 0) ^ flip;
        expect(scanFrames(broken)).toEqual([]);
      }),
    );
  });

  it('is read no further than was asked for', () => {
    const frames = scanFrames(framesOf(events), 3);
    expect(frames).toHaveLength(3);
    expect(frames.at(-1)?.end).toBe(framesOf(events.slice(0, 3)).length);
  });
});
