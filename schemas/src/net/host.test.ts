import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalHost, recordedHost } from './host.js';

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

  it('are a fixed point, and are an address only if a socket sees one', () => {
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

describe('the recorded form of a host', () => {
  it.each([
    ['WWW.A.EXAMPLE.', 'www.a.example'],
    ['b\u00fccher.example', 'xn--bcher-kva.example'],
    ['2001:DB8:0::1', '2001:db8::1'],
    ['[2001:DB8::1]', '2001:db8::1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['192.0.2.1', '192.0.2.1'],
    ['0x7f000001', '0x7f000001'],
    ['127.1', '127.1'],
    ['a..b', 'a..b'],
    ['\\xff', '\\xff'],
  ])('of %s is %s', (text, expected) => {
    expect(recordedHost(text)).toBe(expected);
  });

  it('is a fixed point', () => {
    fc.assert(
      fc.property(fc.oneof(spelling, fc.string(), fc.ipV6(), fc.domain()), (text) => {
        expect(recordedHost(recordedHost(text))).toBe(recordedHost(text));
      }),
    );
  });
});
