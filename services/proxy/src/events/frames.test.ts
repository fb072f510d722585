import { describe, expect, it } from 'vitest';
import { MINUTE_MS } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { encodeEvent } from './encode.generated.js';
import { framesOf, FrameWriter } from './frames.js';
import type { Frame } from './frames.js';
import { readReading } from './reading.js';
import type { SessionReading } from './reading.js';
import { hostileLogs } from './testing/hostile-log.js';

function readingOf(event: SessionEvent, rule: string | null): SessionReading {
  return {
    session_id: event.session_id,
    seq: event.seq,
    interval_start_ms: Date.parse(event.started_at),
    at_ms: Date.parse(event.occurred_at),
    dest_ip: event.dest_ip,
    acl_rule_matched: rule,
    connect_ms: null,
    totals: { bytes_sent: 2 ** 52, bytes_received: 2, packets_sent: 3, packets_received: 4 },
    delta: { bytes_sent: 5, bytes_received: 6, packets_sent: 7, packets_received: 8 },
    minute: { bytes_sent: 9, bytes_received: 10, packets_sent: 11, packets_received: 12 },
  };
}

describe('frames', () => {
  it('carry every event and reading over, in order, through as many chunks as it takes', () => {
    const events = hostileLogs(3, 300).flat();
    const chunks: Uint8Array[] = [];
    const writer = new FrameWriter((chunk) => chunks.push(new Uint8Array(chunk)));
    const expected: unknown[] = [];
    for (const event of events) {
      writer.event(event);
      expected.push(encodeEvent(event));
      const reading = readingOf(event, '\u0001'.repeat(256));
      writer.reading(reading);
      expected.push(reading);
    }
    writer.flush();
    const count = chunks.length;
    writer.flush();
    expect(chunks).toHaveLength(count);
    expect(chunks.length).toBeGreaterThan(3);
    const got = chunks
      .flatMap((chunk) => [...framesOf(chunk)])
      .map(({ kind, payload }) => (kind === 'reading' ? readReading(payload) : payload.toString()));
    expect(got).toEqual(expected);
  });

  it('tell the minute of a delta, and whether it is the last of that minute', () => {
    const events = hostileLogs(5, 300).flat();
    const seen = { final: 0, other: 0 };
    for (const event of events) {
      if (event.type !== 'TrafficDelta') continue;
      let frame: Frame | undefined;
      const writer = new FrameWriter((chunk) => {
        [frame] = framesOf(chunk);
      });
      writer.event(event);
      writer.flush();
      const start = Date.parse(event.interval_start);
      const end = Date.parse(event.interval_end);
      const isFinal = end % MINUTE_MS === 0 && end > start;
      expect(frame?.minute).toBe(Math.floor(start / MINUTE_MS));
      expect(frame?.kind).toBe(isFinal ? 'final_delta' : 'delta');
      seen[isFinal ? 'final' : 'other'] += 1;
    }
    expect(seen.final).toBeGreaterThan(0);
    expect(seen.other).toBeGreaterThan(0);
  });

  it('survive an event larger than a chunk', () => {
    const [event] = hostileLogs(1, 1).flat();
    if (event === undefined) throw new Error('no event');
    const large = { ...event, user: 'x'.repeat(100_000) };
    const chunks: Uint8Array[] = [];
    const writer = new FrameWriter((chunk) => chunks.push(new Uint8Array(chunk)));
    writer.event(event);
    writer.event(large);
    writer.event(event);
    writer.flush();
    expect(chunks.flatMap((c) => [...framesOf(c)]).map((f) => f.payload.toString())).toEqual(
      [event, large, event].map(encodeEvent),
    );
  });
});

describe('a reading', () => {
  it('that is cut or garbled is none', () => {
    const [event] = hostileLogs(1, 1).flat();
    if (event === undefined) throw new Error('no event');
    let payload = Buffer.alloc(0);
    const writer = new FrameWriter((chunk) => {
      for (const frame of framesOf(chunk)) payload = Buffer.from(frame.payload);
    });
    writer.reading(readingOf(event, null));
    writer.flush();
    expect(readReading(payload)).not.toBeNull();
    for (let length = 0; length < payload.length; length += 1) {
      expect(readReading(payload.subarray(0, length))).toBeNull();
    }
  });
});
