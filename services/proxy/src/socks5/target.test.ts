import { describe, expect, it } from 'vitest';
import { targetOf } from './target.js';

function named(name: string | Buffer, port = 443): Buffer {
  const text = Buffer.from(name);
  return Buffer.concat([Buffer.from([3, text.length]), text, Buffer.from([port >> 8, port & 255])]);
}

function ipv6(hex: string): Buffer {
  return Buffer.concat([Buffer.from([4]), Buffer.from(hex, 'hex'), Buffer.from([0, 80])]);
}

describe('targetOf', () => {
  it('reads IPv4 addresses', () => {
    expect(targetOf(Buffer.from([1, 192, 0, 2, 7, 0x1f, 0x90]), 0)).toEqual({
      host: '192.0.2.7',
      ip: '192.0.2.7',
      name: null,
      port: 8080,
    });
  });

  it.each([
    ['20010db8000000000000000000000001', '2001:db8::1', '2001:db8::1'],
    ['00000000000000000000000000000001', '::1', '::1'],
    ['00000000000000000000ffff7f000001', '127.0.0.1', '127.0.0.1'],
  ])('reads IPv6 %s as %s, connecting to %s', (hex, host, ip) => {
    expect(targetOf(ipv6(hex), 0)).toEqual({ host, ip, name: null, port: 80 });
  });

  it.each([
    ['example.com', 'example.com'],
    ['EXAMPLE.com', 'example.com'],
    ['example.com.', 'example.com'],
    ['localhost', 'localhost'],
    ['_dmarc.example.com', '_dmarc.example.com'],
    ['a.b-c.d', 'a.b-c.d'],
    ['bücher.example', 'xn--bcher-kva.example'],
  ])('takes %s for the name %s', (asked, name) => {
    expect(targetOf(named(asked), 0)).toEqual({ host: name, ip: null, name, port: 443 });
  });

  it.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::1', '::1'],
    ['[::1]', '::1'],
    ['2001:DB8:0:0::1', '2001:db8::1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
  ])('takes the name %s for the address %s and records its canonical text', (asked, ip) => {
    expect(targetOf(named(asked), 0)).toEqual({ host: ip, ip, name: null, port: 443 });
  });

  it.each([
    ['127.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0x7f000001', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
  ])('takes the name %s for the address %s, and shows it as it was asked for', (asked, ip) => {
    expect(targetOf(named(asked), 0)).toEqual({ host: asked, ip, name: null, port: 443 });
  });

  it.each([
    '1.2.3.4.5',
    'example.0x7f',
    'a..b',
    '.',
    '',
    `${'a'.repeat(64)}.example`,
    'a b.example',
    'a\0.example',
    'evil.example\r\nX: y',
    'under/slash',
  ])('refuses %j as a name and shows it in printable characters', (asked) => {
    const target = targetOf(named(asked), 0);
    expect(target).toMatchObject({ ip: null, name: null });
    expect(target.host).toMatch(/^[\x21-\x7e]+$/);
  });

  it('shows any 255 bytes within the bounds of the contract', () => {
    const target = targetOf(named(Buffer.alloc(255, 0xff)), 0);
    expect(target.name).toBeNull();
    expect(target.host).toBe('\\xff'.repeat(255));
  });
});
