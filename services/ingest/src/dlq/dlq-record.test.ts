import { describe, expect, it } from 'vitest';
import { bytesOf, cutShort, deadLetterOf, dlqRecordOf } from './dlq-record.js';

const record = {
  offset: 41,
  timestampMs: Date.UTC(2026, 0, 1),
  key: Buffer.from('key'),
  value: Buffer.from('value'),
  headers: [
    ['trace', Buffer.from('a')],
    ['trace', Buffer.from('b')],
    ['empty', null],
  ],
} as const;
const letter = dlqRecordOf({
  topic: 'events',
  partition: 5,
  record,
  poison: { reason: 'invalid', detail: 'user: too long' },
});

/** Returns the letter as the broker would. */
function readBack(sent: typeof letter) {
  return deadLetterOf(1, {
    offset: 7,
    timestampMs: 0,
    key: sent.key as Buffer | null,
    value: sent.value as Buffer | null,
    headers: Object.entries(sent.headers).map(([name, value]) => [
      name,
      Buffer.from(value as Buffer),
    ]),
  });
}

describe('a dead letter', () => {
  it('keeps key, value and headers, and adds its origin and the reason', () => {
    expect(readBack(letter)).toEqual({
      partition: 1,
      offset: 7,
      reason: 'invalid',
      detail: 'user: too long',
      origin: {
        topic: 'events',
        partition: '5',
        offset: '41',
        timestamp: '2026-01-01T00:00:00.000Z',
      },
      cutFromBytes: null,
      record: { key: record.key, value: record.value, headers: { trace: Buffer.from('b') } },
    });
  });

  it.each([
    [8.64e15, '+275760-09-13T00:00:00.000Z'],
    [-8.64e15, '-271821-04-20T00:00:00.000Z'],
    [8.64e15 + 1, '8640000000000001'],
    // The least and the largest that 64 bits hold, as near as a number comes to them.
    [-(2 ** 63), '-9223372036854776000'],
    [2 ** 63, '9223372036854776000'],
  ])('has the time at which it was made, not the time of its producer: %d', (timestampMs, text) => {
    const odd = dlqRecordOf({
      topic: 'events',
      partition: 0,
      record: { ...record, timestampMs },
      poison: { reason: 'invalid', detail: '' },
    });
    expect(readBack(odd).origin?.timestamp).toBe(text);
  });

  it('can be cut to a size that any broker takes, and keeps its original length', () => {
    const large = {
      ...letter,
      value: Buffer.alloc(2_000_000, 'x'),
      key: Buffer.alloc(100_000, 'k'),
    };
    const cut = readBack(cutShort(large));
    expect(cut.cutFromBytes).toBe(2_000_000);
    expect(cut.record.value?.length).toBe(65_536);
    expect(cut.record.key?.length).toBe(65_536);
    expect(cut.record.headers).toEqual({});
    expect(cut.origin?.offset).toBe('41');
  });

  it('keeps a valid trace header of its producer, also when it is cut', () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const traced = (value: string) =>
      dlqRecordOf({
        topic: 'events',
        partition: 5,
        record: { ...record, headers: [['traceparent', Buffer.from(value)]] },
        poison: { reason: 'invalid', detail: 'user: too long' },
      });
    expect(String(readBack(traced(traceparent)).record.headers['traceparent'])).toBe(traceparent);
    const cut = readBack(cutShort(traced(traceparent)));
    expect(String(cut.record.headers['traceparent'])).toBe(traceparent);
    expect(readBack(cutShort(traced('x'.repeat(1_000)))).record.headers).toEqual({});
  });

  it('ignores headers of ours that came with its record, so it can be sent again and again', () => {
    const filler = Buffer.alloc(1_000_000, 'x');
    const hostile = dlqRecordOf({
      topic: 'events',
      partition: 5,
      record: {
        ...record,
        headers: [
          ['sockscope_dlq_cut_from_bytes', Buffer.from('1')],
          ['sockscope_dlq_reason', filler],
          ['sockscope_dlq_of_mine', filler],
          ['__proto__', Buffer.from('p')],
        ],
      },
      poison: { reason: 'invalid', detail: 'user: too long' },
    });
    const whole = readBack(hostile);
    expect(whole).toMatchObject({ reason: 'invalid', cutFromBytes: null });
    expect(Object.entries(whole.record.headers)).toEqual([['__proto__', Buffer.from('p')]]);
    const cut = cutShort(hostile);
    expect(Object.keys(cut.headers).toSorted()).toEqual([
      'sockscope_dlq_cut_from_bytes',
      'sockscope_dlq_detail',
      'sockscope_dlq_offset',
      'sockscope_dlq_partition',
      'sockscope_dlq_reason',
      'sockscope_dlq_timestamp',
      'sockscope_dlq_topic',
    ]);
    const bytes = Object.values(cut.headers).reduce((sum, each) => sum + each.length, 0);
    expect(bytes).toBeLessThan(1_000);
  });

  it('with long headers of another program is cut to our headers', () => {
    const cut = cutShort({
      key: null,
      value: 'v',
      headers: { ...letter.headers, sockscope_dlq_x: 'y' },
    });
    expect(Object.keys(cut.headers)).not.toContain('sockscope_dlq_x');
  });

  it('of another hand is shown too', () => {
    const foreign = deadLetterOf(0, { ...record, headers: [] });
    expect(foreign).toMatchObject({ reason: 'unknown', origin: null, detail: '' });
  });
});

describe('the size of a record', () => {
  it('is more than its key, its value and its headers, for each of which there is something', () => {
    const nothing = bytesOf(null, null, []);
    expect(nothing).toBeGreaterThan(0);
    expect(bytesOf(Buffer.alloc(10), null, []) - nothing).toBe(10);
    expect(bytesOf(null, 'ü', []) - nothing).toBe(2);
    const header = bytesOf(null, null, [['', null]]) - nothing;
    expect(header).toBeGreaterThan(0);
    expect(bytesOf(null, null, [['name', Buffer.alloc(10)]]) - nothing - header).toBe(14);
  });
});
