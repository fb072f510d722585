import { cloudEventHeaders } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { murmur2, outgoingRecordFormat, RecordWriter } from '@sockscope/runtime/kafka';
import type { OutgoingRecord, RecordFormat } from '@sockscope/runtime/kafka';
import { describe, expect, it } from 'vitest';
import { partsOf } from './event-parts.js';
import { FrameWriter, scanChunks } from './frame.js';
import type { Frame } from './frame.js';
import { createEventRecordFormat } from './record.js';
import { jsonOf } from './testing/event-of.js';
import { hostileLogs } from './testing/hostile-log.js';

const events: SessionEvent[] = hostileLogs(11, 300).flat();

/** The contract's demands on an event's record. */
function recordOf(event: SessionEvent): OutgoingRecord {
  return {
    key: event.session_id,
    value: jsonOf(partsOf(event)),
    headers: { ...cloudEventHeaders(event) },
  };
}

/** The event as a frame of the log of its proxy. */
function frameOf(event: SessionEvent): Frame {
  const writer = new FrameWriter();
  writer.add(partsOf(event));
  const [frame] = scanChunks(Buffer.from(writer.take())).frames;
  if (frame === undefined) throw new Error('no frame');
  return frame;
}

function written<T>(records: readonly T[], format: RecordFormat<T>): Buffer {
  const writer = new RecordWriter();
  records.forEach((record, i) => {
    writer.record(record, i, format);
  });
  return Buffer.from(writer.buffer.subarray(0, writer.at));
}

describe('the record of an event', () => {
  it('has the session id as key, the event as value and the headers of the CloudEvents binding', () => {
    for (const proxyId of new Set(events.map(({ proxy_id }) => proxy_id))) {
      const own = events.filter(({ proxy_id }) => proxy_id === proxyId);
      const asContracted = own.map(recordOf);
      expect(
        written(own.map(frameOf), createEventRecordFormat(proxyId)).equals(
          written(asContracted, outgoingRecordFormat),
        ),
      ).toBe(true);
    }
  });

  it('goes to the partition of its session id', () => {
    const format = createEventRecordFormat('p');
    for (const event of events.slice(0, 100)) {
      expect(format.keyHash(frameOf(event))).toBe(murmur2(Buffer.from(event.session_id)));
    }
  });

  it.each([
    ['a proxy id that JSON escapes', 'a "proxy"', 3],
    ['one beyond ASCII', 'prüxy', 3],
    ['the longest one', 'p'.repeat(64), 3],
    ['a sequence number of ten digits', 'p', 2_147_483_647],
    ['the first one', 'p', 0],
  ])('names its source and its event: %s', (_name, proxyId, seq) => {
    const event = { ...(events[0] as SessionEvent), proxy_id: proxyId, seq };
    expect(
      written([frameOf(event)], createEventRecordFormat(proxyId)).equals(
        written([recordOf(event)], outgoingRecordFormat),
      ),
    ).toBe(true);
  });
});
