import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SessionEvent } from '@sockscope/schemas';
import { partsOf } from './event-parts.js';
import {
  CHUNK_MAX_BYTES,
  CHUNK_MAX_FRAMES,
  frameBytesOf,
  FrameWriter,
  scanChunks,
} from './frame.js';
import { deltaOf, measurementOf } from './measurement.js';
import { hostileLogs } from './testing/hostile-log.js';

const events: SessionEvent[] = hostileLogs(3, 40).flat();

function chunkOf(some: readonly SessionEvent[]): Buffer {
  const writer = new FrameWriter();
  for (const event of some) writer.add(partsOf(event));
  return Buffer.from(writer.take());
}

describe('a frame', () => {
  it('has the fields of its event that a record of Kafka needs, although texts imitate fields', () => {
    const { frames, end } = scanChunks(chunkOf(events));
    expect(frames).toHaveLength(events.length);
    expect(end).toBe(chunkOf(events).length);
    frames.forEach((frame, i) => {
      const event = events[i] as SessionEvent;
      expect(frame.type).toBe(event.type);
      expect(frame.seq).toBe(event.seq);
      expect(frame.sessionId).toBe(event.session_id);
      expect(frame.occurredAtMs).toBe(Date.parse(event.occurred_at));
      expect(JSON.parse(frame.json)).toEqual(event);
    });
  });
});

it('a TrafficDelta made of a frame and a measurement is the same as one made of its parts', () => {
  for (const event of events.filter(({ type }) => type === 'SessionStarted')) {
    const delta = events.find((each) => each.type === 'TrafficDelta');
    if (delta?.type !== 'TrafficDelta') throw new Error('no delta');
    const started = partsOf(event);
    const measurement = measurementOf(delta);
    const [one, other] = [new FrameWriter(), new FrameWriter()];
    one.addDelta(frameBytesOf(started), measurement);
    other.add(deltaOf(started, measurement));
    expect(one.take().equals(other.take())).toBe(true);
  }
});

describe('a chunk', () => {
  const [first, second] = [events.slice(0, 1), events.slice(1, 3)];
  const whole = Buffer.concat([chunkOf(first), chunkOf(second)]);
  const firstBytes = chunkOf(first).length;

  it('of which something is missing ends the scan, and all before it are read', () => {
    for (let cut = 0; cut < whole.length; cut += 1) {
      const { frames, end } = scanChunks(whole.subarray(0, cut));
      expect(frames).toHaveLength(cut < firstBytes ? 0 : 1);
      expect(end).toBe(cut < firstBytes ? 0 : firstBytes);
    }
  });

  it('with any byte changed is no chunk', () => {
    const sound = chunkOf(second);
    fc.assert(
      fc.property(fc.nat(sound.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const broken = Buffer.from(sound);
        broken[at] = (broken[at] ?? 0) ^ flip;
        expect(scanChunks(broken)).toEqual({ frames: [], end: 0 });
      }),
    );
  });

  it('is read whole, and no further one than was asked for', () => {
    expect(scanChunks(whole, 1).end).toBe(firstBytes);
    expect(scanChunks(whole, 2).end).toBe(firstBytes);
    expect(scanChunks(whole, 3).end).toBe(whole.length);
    expect(scanChunks(chunkOf(second), 1).frames).toHaveLength(2);
  });

  it('is full long before the limit of a request', () => {
    const writer = new FrameWriter();
    let count = 0;
    for (; !writer.isFull; count += 1) writer.add(partsOf(first[0] as SessionEvent));
    expect(count).toBeLessThanOrEqual(CHUNK_MAX_FRAMES);
    expect(writer.take().length).toBeLessThan(CHUNK_MAX_BYTES);
  });
});
