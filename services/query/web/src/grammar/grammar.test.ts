import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse, unparse } from './grammar.js';

const FIELDS = new Set(['user', 'dest_host', 'dest_port', 'source_ip', 'close_reason']);
const read = (text: string) => {
  const { params, words, problems } = parse(text, FIELDS);
  return { params: Object.fromEntries(params), words, problems };
};

describe('the grammar of filters', () => {
  test('reads fields, sizes, spans and ranges', () => {
    expect(read('user:alice dest:*.example.com bytes>1g duration<=5m last 24h')).toEqual({
      params: {
        user: ['alice'],
        dest_host: ['*.example.com'],
        min_bytes: ['1000000000'],
        max_duration_ms: ['300000'],
        from: ['now-24h'],
        to: ['now'],
      },
      words: [],
      problems: [],
    });
  });

  test('collects several values of a field, and keeps blanks in quotes', () => {
    expect(read('user:alice user:"bob \\"b\\" smith"').params).toEqual({
      user: ['alice', 'bob "b" smith'],
    });
  });

  test('keeps colons in a value, as IPv6 addresses have them', () => {
    expect(read('src:2001:db8::1').params).toEqual({ source_ip: ['2001:db8::1'] });
  });

  test('keeps free words, and names unreadable terms', () => {
    expect(read('live nosuch:1 bytes>many user:')).toEqual({
      params: {},
      words: ['live'],
      problems: [
        { term: 'nosuch:1', reason: 'unknown_field' },
        { term: 'bytes>many', reason: 'not_a_size' },
        { term: 'user:', reason: 'empty' },
      ],
    });
  });

  test('writes sizes and spans in the largest unit that leaves them whole', () => {
    const written = (name: string, value: string) => unparse(new Map([[name, [value]]]), FIELDS);
    expect(written('min_bytes', '1000')).toBe('bytes>1k');
    expect(written('max_bytes', '1024')).toBe('bytes<1024');
    expect(written('min_bytes', '0')).toBe('bytes>0');
    expect(written('min_duration_ms', '300000')).toBe('duration>5m');
  });

  test('writes any parameters as a text that it reads as the same parameters', () => {
    const value = fc.string({ minLength: 1, maxLength: 30 }).filter((text) => text.trim() !== '');
    fc.assert(
      fc.property(
        fc.record(
          {
            user: fc.array(value, { minLength: 1, maxLength: 3 }),
            dest_host: fc.array(value, { minLength: 1, maxLength: 3 }),
            min_bytes: fc.nat().map((n) => [String(n)]),
            period: fc.constant(['2026-03']),
          },
          { requiredKeys: [] },
        ),
        (params) => {
          const text = unparse(new Map(Object.entries(params)), FIELDS);
          expect(read(text)).toEqual({ params, words: [], problems: [] });
        },
      ),
    );
  });
});
