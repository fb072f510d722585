import { describe, expect, it } from 'vitest';
import { addressRangeOf } from './addresses.js';
import { predicateOf } from './predicate.js';

describe('a filter by address', () => {
  it('takes an address of IPv6 that ends like one of IPv4 for one of IPv6', () => {
    const { low, high, only } = addressRangeOf('::192.0.2.1');
    expect([low, high]).toEqual(Array.from({ length: 2 }, () => '0:0:0:0:0:0:c000:201'));
    // ClickHouse writes it so, and the sums have it as their key.
    expect(only).toBe('::192.0.2.1');
    expect(addressRangeOf('::c000:201').only).toBe('::192.0.2.1');
    expect(addressRangeOf('::ffff:192.0.2.1').only).toBe('192.0.2.1');
  });

  it.each([
    ['::/0', '192.0.2.1', false],
    ['::1', '192.0.2.1', false],
    ['::1/48', '192.0.2.1', false],
    ['::1/48', '::192.0.2.1', true],
    ['::/0', '2001:db8::1', true],
    ['::ffff:0:0/96', '192.0.2.1', true],
    ['0.0.0.0/0', '192.0.2.1', true],
    ['0.0.0.0/0', '::192.0.2.1', false],
    ['::192.0.2.1', '192.0.2.1', false],
    ['192.0.2.1', '::192.0.2.1', false],
  ])('%s of %s is %s', (block, source_ip, passes) => {
    expect(predicateOf({ source_ip: [block] })({ source_ip })).toBe(passes);
  });
});
