import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse, unparse } from './grammar.js';

const FIELDS = new Set(['user', 'dest_host', 'dest_port', 'source_ip', 'acl_rule_matched']);
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
    expect(read('live constructor 1 nosuch:1 bytes>many user:')).toEqual({
      params: {},
      words: ['live', 'constructor', '1'],
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

  test('tells an empty value, which is a filter, from a missing one', () => {
    expect(read('rule:""')).toEqual({
      params: { acl_rule_matched: [''] },
      words: [],
      problems: [],
    });
    expect(unparse(new Map([['acl_rule_matched', ['', 'no mail']]]), FIELDS)).toBe(
      'acl_rule_matched:"" acl_rule_matched:"no mail"',
    );
    expect(read('rule:').problems).toEqual([{ term: 'rule:', reason: 'empty' }]);
  });

  test('writes any parameters as a text that it reads as the same parameters', () => {
    const value = fc.oneof(
      fc.string({ maxLength: 30 }),
      // What the grammar itself is made of.
      fc.string({
        unit: fc.constantFrom(...Array.from(' "\\:<>=\n\u00a0lé\u{1F600}*')),
        maxLength: 8,
      }),
    );
    const amount = fc.array(fc.maxSafeNat().map(String), { minLength: 1, maxLength: 1 });
    const ranges = [
      {},
      { period: ['2026-03'] },
      { period: ['2026-03-29'] },
      { from: ['now-90d'], to: ['now'] },
      { from: ['2026-03-29T00:59:59.999Z'], to: ['2026-03-29T01:00:00.000Z'] },
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...ranges),
        fc.record(
          {
            user: fc.array(value, { minLength: 1, maxLength: 3 }),
            dest_host: fc.array(value, { minLength: 1, maxLength: 3 }),
            min_bytes: amount,
            max_bytes: amount,
            min_duration_ms: amount,
            max_duration_ms: amount,
          },
          { requiredKeys: [] },
        ),
        (range, filters) => {
          const params = { ...filters, ...range };
          const text = unparse(new Map(Object.entries(params)), FIELDS);
          expect(read(text)).toEqual({ params, words: [], problems: [] });
        },
      ),
    );
  });
});
