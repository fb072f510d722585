import { expect, it } from 'vitest';
import { crc32c } from './crc32c.js';

it('gives the check values of RFC 3720, appendix B.4', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32, 0))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i))).toBe(0x113fdb5c);
});

it('gives the same for any length and place', () => {
  const bytes = Buffer.from(Array.from({ length: 64 }, (_, i) => (i * 37) & 255));
  const bitwise = (part: Uint8Array) => {
    let crc = 0xffffffff;
    for (const byte of part) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc >>> 0;
  };
  for (let start = 0; start < 9; start += 1) {
    for (let end = start; end <= bytes.length; end += 1) {
      expect(crc32c(bytes.subarray(start, end))).toBe(bitwise(bytes.subarray(start, end)));
    }
  }
});
