import { isIP, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalHost, embeddedIpv4, formatIp, parseIp } from './address.js';

/** The spelling that the URL standard gives an address: another implementation to agree with. */
function urlSpelling(host: string): string | null {
  try {
    return new URL(`http://${host}/`).hostname.replace(/^\[|\]$/g, '');
  } catch {
    return null;
  }
}

const ipv4Part = fc.oneof(
  fc.nat({ max: 300 }).map(String),
  fc.nat({ max: 300 }).map((n) => `0x${n.toString(16)}`),
  fc.nat({ max: 300 }).map((n) => `0${n.toString(8)}`),
  fc.nat({ max: 2 ** 33 }).map(String),
);
const spelling = fc.array(ipv4Part, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('.'));

describe('canonical hosts', () => {
  it('read IPv4 in every spelling as the URL standard does', () => {
    fc.assert(
      fc.property(spelling, (text) => {
        const host = canonicalHost(text);
        expect(host.kind === 'ip' ? host.text : null).toBe(urlSpelling(text));
      }),
      { numRuns: 2_000 },
    );
  });

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

  it('are IPv6 exactly where Node says so', () => {
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

  it('are a fixed point, and are an address only where a socket sees one', () => {
    const anything = fc.oneof(
      spelling,
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({ unit: fc.constantFrom(...Array.from('aZ09.-_:%[]x。０')), maxLength: 40 }),
      fc.domain(),
    );
    fc.assert(
      fc.property(anything, (text) => {
        const host = canonicalHost(text);
        if (host.kind === 'invalid') return;
        expect(canonicalHost(host.text)).toEqual(host);
        expect(isIP(host.text) !== 0).toBe(host.kind === 'ip');
      }),
      { numRuns: 5_000 },
    );
  });

  it.each([
    ['EXAMPLE.com', 'example.com'],
    ['example.com.', 'example.com'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['xn--BCHER-kva.example', 'xn--bcher-kva.example'],
    ['faß.de', 'xn--fa-hia.de'],
    ['ex\u00adample.com', 'example.com'],
    ['a\u3002b', 'a.b'],
    ['_srv._tcp.example.com', '_srv._tcp.example.com'],
    ['ﬀ.com', 'ff.com'],
  ])('spell the name %j as %s', (text, name) => {
    expect(canonicalHost(text)).toEqual({ kind: 'name', text: name });
  });

  it.each([
    ['', 'empty'],
    ['.', 'empty part'],
    ['a..b', 'empty part'],
    ['.a', 'empty part'],
    ['a.b..', 'empty part'],
    [`${'a'.repeat(64)}.com`, 'too long'],
    [`${'abcdefg.'.repeat(32)}com`, 'too long'],
    ['x'.repeat(5_000), 'too long'],
    ['a b', 'forbidden'],
    ['a\nb', 'forbidden'],
    ['a\0.com', 'forbidden'],
    ['%31.com', 'forbidden'],
    ['ü%31.com', 'IDNA'],
    ['http://a', 'not an address'],
    ['a@b', 'forbidden'],
    ['*.com', 'forbidden'],
    ['\ufffd\ufffd', 'IDNA'],
    ['1.2.3', null],
    ['1.2.3.4.5', 'IPv4'],
    ['1.2.3.256', 'IPv4'],
    ['4294967296', 'IPv4'],
    ['09.1.1.1', 'IPv4'],
    ['a.1', 'IPv4'],
    ['[::1', 'not an address'],
    ['::1]', 'not an address'],
    ['1:2:3', 'not an address'],
    ['::1%', null],
    ['::ffff:127.0.0.1:80', 'not an address'],
  ])('refuse %j', (text, problem) => {
    const host = canonicalHost(text);
    if (problem === null) expect(host.kind).toBe('ip');
    else expect(host.kind === 'invalid' ? host.problem : host).toContain(problem);
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
