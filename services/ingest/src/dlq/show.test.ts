import { describe, expect, it } from 'vitest';
import { deadLetterOf } from './dlq-record.js';
import { harmless, listLine, showText, shownBytes } from './show.js';

const letter = deadLetterOf(3, {
  offset: 17,
  timestampMs: 0,
  key: Buffer.from('k\u001b[2J'),
  value: Buffer.from('{"user":"\u202eevil\n"}'),
  headers: [
    ['x\u0007', Buffer.from('1')],
    ['sockscope_dlq_topic', Buffer.from('events')],
    ['sockscope_dlq_partition', Buffer.from('2')],
    ['sockscope_dlq_offset', Buffer.from('99')],
    ['sockscope_dlq_timestamp', Buffer.from('2026-01-01T00:00:00.000Z')],
    ['sockscope_dlq_reason', Buffer.from('invalid')],
    ['sockscope_dlq_detail', Buffer.from('user: \u001b]0;title\u0007')],
  ],
});

describe('a dead letter on a terminal', () => {
  it('escapes control characters at every position', () => {
    for (const text of [listLine(letter), showText(letter).replaceAll('\n', '')]) {
      expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }
    expect(harmless('a\u001b[31m\u200b𝄞é')).toBe('a\\u{1b}[31m\\u{200b}𝄞é');
  });

  it('shows its place, its reason and its origin', () => {
    expect(listLine(letter)).toBe(
      '3:17  invalid  2026-01-01T00:00:00.000Z  events 2:99  user: \\u{1b}]0;title\\u{7}',
    );
  });

  it('shows bytes that are no text as digits, and bounds them', () => {
    expect(shownBytes(null)).toBe('(null)');
    expect(shownBytes(Buffer.from([0xff, 0x00]))).toBe('0xff00');
    const long = shownBytes(Buffer.from('é'.repeat(20_000)));
    expect(long.length).toBeLessThan(20_000);
    expect(long).toMatch(/ … \(40000 bytes\)$/);
  });
});
