import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { embeddedIpv4, formatIp, parseIp } from './address.js';

/** The spelling that the URL standard gives an address: another implementation to agree with. */
function urlSpelling(host: string): string | null {
  try {
    return new URL(`http://${host}/`).hostname.replace(/^\[|\]$/g, '');
  } catch {
    return null;
  }
}

describe('addresses', () => {
  it('write IPv6 as the URL standard does, IPv4-mapped ones as IPv4', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const ip = parseIp(text);
        if (ip === null) throw new Error(`${text} was not read`);
        const expected = urlSpelling(`[${text}]`);
        if (ip.bits === 128) expect(formatIp(ip)).toBe(expected);
        else expect(expected).toMatch(/^::ffff:/);
        expect(formatIp(parseIp(formatIp(ip)) ?? ip)).toBe(formatIp(ip));
      }),
      { numRuns: 2_000 },
    );
  });

  it('are IPv6 exactly if Node accepts them', () => {
    const group = fc.oneof(
      { weight: 6, arbitrary: fc.stringMatching(/^[0-9a-fA-F]{0,5}$/) },
      {
        weight: 1,
        arbitrary: fc.constantFrom('1.2.3.4', '1.2.3', '01.2.3.4', '1.2.3.256', 'g', ' '),
      },
    );
    const text = fc.array(group, { minLength: 1, maxLength: 10 }).map((groups) => groups.join(':'));
    fc.assert(
      fc.property(fc.oneof(text, fc.ipV6()), (one) => {
        expect(parseIp(one) !== null && one.includes(':')).toBe(isIPv6(one));
      }),
      { numRuns: 20_000 },
    );
  });
});

describe('addresses inside addresses', () => {
  it.each([
    ['64:ff9b::c000:201', ['192.0.2.1']],
    ['64:ff9b:1::c000:201', ['192.0.2.1']],
    ['2002:c000:201::1', ['192.0.2.1']],
    ['2001:0:c000:201:0:0:3fff:fdfe', ['192.0.2.1', '192.0.2.1']],
    ['::c000:201', ['192.0.2.1']],
    ['::ffff:0:c000:201', ['192.0.2.1']],
    ['2001:db8::200:5efe:c000:201', ['192.0.2.1']],
    ['::1', []],
    ['::', []],
    ['2001:db8::1', []],
    ['192.0.2.1', []],
  ])('of %s are %j', (text, expected) => {
    const ip = parseIp(text);
    expect(ip === null ? null : embeddedIpv4(ip).map(formatIp)).toEqual(expected);
  });
});
