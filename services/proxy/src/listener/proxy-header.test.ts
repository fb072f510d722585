import { describe, expect, it } from 'vitest';
import { INCOMPLETE } from '../socks5/frames.js';
import { BAD_HEADER, proxyHeaderEnd, proxyHeaderSource } from './proxy-header.js';

const SIGNATURE = '0d0a0d0a000d0a515549540a';

function binary(hex: string): Buffer {
  return Buffer.from(SIGNATURE + hex, 'hex');
}

const WHOLE: [name: string, header: Buffer, source: { ip: string; port: number } | null][] = [
  [
    'text, IPv4',
    Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.1 56324 1080\r\n'),
    { ip: '192.0.2.1', port: 56_324 },
  ],
  [
    'text, IPv6',
    Buffer.from('PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n'),
    { ip: '2001:db8::1', port: 1 },
  ],
  ['text, unknown', Buffer.from('PROXY UNKNOWN\r\n'), null],
  ['text, unknown with a rest', Buffer.from('PROXY UNKNOWN ffff::1 ::2 1 2\r\n'), null],
  ['binary, IPv4', binary('2111000cc0000201c6336401dc040438'), { ip: '192.0.2.1', port: 56_324 }],
  [
    'binary, IPv4 with extensions',
    binary('21110013c0000201c6336401dc04043804000400000000'),
    { ip: '192.0.2.1', port: 56_324 },
  ],
  [
    'binary, IPv6',
    binary(`21210024${'20010db8000000000000000000000001'.repeat(2)}00010438`),
    { ip: '2001:db8::1', port: 1 },
  ],
  [
    'binary, IPv4-mapped',
    binary(`21210024${'00000000000000000000ffffc0000201'.repeat(2)}00010438`),
    { ip: '192.0.2.1', port: 1 },
  ],
  ['binary, local', binary('20000000'), null],
  ['binary, local with an address', binary('2011000cc0000201c6336401dc040438'), null],
  ['binary, unspecified family', binary('21000000'), null],
  ['binary, UDP', binary('2112000cc0000201c6336401dc040438'), null],
];

describe('the PROXY protocol header', () => {
  it.each(WHOLE)('%s ends at its last byte and names its client', (_, header, source) => {
    const followed = Buffer.concat([header, Buffer.from([5, 1, 0])]);
    for (let length = 0; length < header.length; length += 1) {
      expect(proxyHeaderEnd(followed.subarray(0, length)), `${length} bytes`).toBe(INCOMPLETE);
    }
    expect(proxyHeaderEnd(followed)).toBe(header.length);
    expect(proxyHeaderSource(followed)).toEqual(source);
  });

  it.each([
    ['SOCKS5', Buffer.from([5, 1, 0])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['an unknown family', Buffer.from('PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n')],
    ['IPv6 named as IPv4', Buffer.from('PROXY TCP4 ::1 ::2 1 2\r\n')],
    ['a zone', Buffer.from('PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n')],
    ['an odd address', Buffer.from('PROXY TCP4 127.1 127.0.0.1 1 2\r\n')],
    ['a port that is none', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n')],
    ['a port with a zero before', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n')],
    ['too few parts', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n')],
    ['text without an end', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`)],
    ['text that ends too late', Buffer.from(`PROXY UNKNOWN ${'x'.repeat(120)}\r\n`)],
    ['binary version 1', binary('1111000c')],
    ['an unknown command', binary('2211000c')],
    ['addresses that are too short', binary('2111000bc0000201c6336401dc0404')],
    ['extensions without end', binary('2111ffff')],
  ])('%s is refused', (_, header) => {
    expect(proxyHeaderEnd(header)).toBe(BAD_HEADER);
  });
});
