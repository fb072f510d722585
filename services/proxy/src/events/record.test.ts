import { cloudEventHeaders } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { murmur2, outgoingRecordFormat, RecordWriter } from '@sockscope/runtime/kafka';
import type { OutgoingRecord, RecordFormat } from '@sockscope/runtime/kafka';
import { describe, expect, it } from 'vitest';
import { encodeEvent } from './encode.generated.js';
import { createEventRecordFormat, eventRecordOf, occurredAtMs } from './record.js';
import type { EventRecord } from './record.js';
import { hostileLogs } from './testing/hostile-log.js';

const events: SessionEvent[] = hostileLogs(11, 300).flat();

/** What the contract says of an event's record. */
function recordOf(event: SessionEvent, payload: Buffer): OutgoingRecord {
  return { key: event.session_id, value: payload, headers: { ...cloudEventHeaders(event) } };
}

function recordsOf(payloads: readonly Buffer[]): EventRecord[] {
  return payloads.map(eventRecordOf).filter((record) => record !== null);
}

function written<T>(records: readonly T[], format: RecordFormat<T>): Buffer {
  const writer = new RecordWriter();
  records.forEach((record, i) => {
    writer.record(record, i, format);
  });
  return Buffer.from(writer.buffer.subarray(0, writer.at));
}

describe('the record of an event', () => {
  it('has the bytes of the session as key, the event as value and the headers of the CloudEvents binding', () => {
    const payloads = events.map((event) => Buffer.from(encodeEvent(event)));
    const records = recordsOf(payloads);
    expect(records.every((record, i) => record === payloads[i])).toBe(true);
    expect(records).toHaveLength(payloads.length);
    const asContracted = events.map((event, i) => recordOf(event, payloads[i] ?? Buffer.alloc(0)));
    expect(
      written(records, createEventRecordFormat()).equals(
        written(asContracted, outgoingRecordFormat),
      ),
    ).toBe(true);
  });

  it('goes where its session id belongs', () => {
    const format = createEventRecordFormat();
    for (const event of events.slice(0, 100)) {
      const [record] = recordsOf([Buffer.from(encodeEvent(event))]);
      if (record === undefined) throw new Error('no record');
      expect(format.keyHash(record)).toBe(murmur2(Buffer.from(event.session_id)));
      expect(occurredAtMs(record)).toBe(Date.parse(event.occurred_at));
    }
  });

  it('is the same where other bytes say the same event, as another version may have written it', () => {
    const format = createEventRecordFormat();
    for (const event of events.slice(0, 100)) {
      const { type, ...rest } = event;
      const payload = Buffer.from(JSON.stringify({ ...rest, type }));
      const record = eventRecordOf(payload);
      if (record === null) throw new Error('no record');
      expect(Buffer.isBuffer(record)).toBe(false);
      expect(
        written([record], format).equals(written([recordOf(event, payload)], outgoingRecordFormat)),
      ).toBe(true);
      expect(format.keyHash(record)).toBe(murmur2(Buffer.from(event.session_id)));
      expect(occurredAtMs(record)).toBe(Date.parse(event.occurred_at));
    }
  });

  it.each([
    ['a proxy id that JSON escapes', 'a "proxy"'],
    ['one beyond ASCII', 'prüxy'],
    ['the longest one', 'p'.repeat(64)],
  ])('names its source: %s', (_name, proxyId) => {
    const event = { ...(events[0] as SessionEvent), proxy_id: proxyId };
    const payload = Buffer.from(encodeEvent(event));
    expect(
      written(recordsOf([payload]), createEventRecordFormat()).equals(
        written([recordOf(event, payload)], outgoingRecordFormat),
      ),
    ).toBe(true);
  });

  it('is not there for what is no event, or a cut one', () => {
    const whole = encodeEvent(events[0] as SessionEvent);
    for (const text of ['', '{"a":1}', whole.slice(0, 60), whole.slice(0, 160)]) {
      expect(eventRecordOf(Buffer.from(text))).toBeNull();
    }
  });
});
