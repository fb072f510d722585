import { describe, expect, it } from 'vitest';
import {
  BAD_ADDRESS_TYPE,
  BAD_VERSION,
  credentialsEnd,
  credentialsOf,
  greetingEnd,
  INCOMPLETE,
  offersMethod,
  requestEnd,
} from './frames.js';
import { METHOD } from './protocol.js';

const bytes = (...parts: (number | string)[]): Buffer =>
  Buffer.concat(
    parts.map((part) => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))),
  );

const WHOLE: [name: string, find: (b: Buffer, at: number) => number, message: Buffer][] = [
  ['a greeting without methods', greetingEnd, bytes(5, 0)],
  ['a greeting with one method', greetingEnd, bytes(5, 1, 0)],
  ['a greeting with 255 methods', greetingEnd, Buffer.concat([bytes(5, 255), Buffer.alloc(255)])],
  ['credentials', credentialsEnd, bytes(1, 4, 'user', 6, 'secret')],
  ['empty credentials', credentialsEnd, bytes(1, 0, 0)],
  ['the longest credentials', credentialsEnd, bytes(1, 255, 'u'.repeat(255), 255, 'p'.repeat(255))],
  ['a request for IPv4', requestEnd, bytes(5, 1, 0, 1, 127, 0, 0, 1, 0, 80)],
  [
    'a request for IPv6',
    requestEnd,
    Buffer.concat([bytes(5, 1, 0, 4), Buffer.alloc(16), bytes(1, 187)]),
  ],
  ['a request for a name', requestEnd, bytes(5, 1, 0, 3, 11, 'example.com', 1, 187)],
  ['a request for an empty name', requestEnd, bytes(5, 1, 0, 3, 0, 1, 187)],
  ['a request with a reserved byte set', requestEnd, bytes(5, 1, 9, 1, 127, 0, 0, 1, 0, 80)],
];

describe('the end of a message', () => {
  it.each(WHOLE)('%s is found at its last byte and nowhere before', (_, find, message) => {
    for (let length = 0; length < message.length; length += 1) {
      expect(find(message.subarray(0, length), 0), `after ${length} bytes`).toBe(INCOMPLETE);
    }
    expect(find(message, 0)).toBe(message.length);
  });

  it.each(WHOLE)('%s is found behind other bytes and before others', (_, find, message) => {
    const around = Buffer.concat([bytes(9, 9, 9), message, bytes(7, 7)]);
    expect(find(around, 3)).toBe(3 + message.length);
  });

  it.each([
    ['SOCKS4', greetingEnd, bytes(4, 1, 0, 80)],
    ['HTTP', greetingEnd, bytes('GET / HTTP/1.1\r\n')],
    ['credentials of version 5', credentialsEnd, bytes(5, 1)],
    ['a request of version 4', requestEnd, bytes(4, 1)],
  ])('%s is refused with its first byte', (_, find, message) => {
    expect(find(message.subarray(0, 1), 0)).toBe(BAD_VERSION);
    expect(find(message, 0)).toBe(BAD_VERSION);
  });

  it.each([0, 2, 5, 255])('address type %i is refused with its own byte', (type) => {
    expect(requestEnd(bytes(5, 1, 0), 0)).toBe(INCOMPLETE);
    expect(requestEnd(bytes(5, 1, 0, type), 0)).toBe(BAD_ADDRESS_TYPE);
  });
});

describe('the content of a message', () => {
  it('finds the methods of a greeting, and reads no further than the greeting', () => {
    const greeting = bytes(5, 2, 1, 2, 0);
    expect(offersMethod(greeting, 0, METHOD.password)).toBe(true);
    expect(offersMethod(greeting, 0, METHOD.none)).toBe(false);
    expect(offersMethod(bytes(5, 0, 0), 0, METHOD.none)).toBe(false);
  });

  it('splits credentials, empty ones too', () => {
    const { username, password } = credentialsOf(bytes(9, 1, 4, 'user', 6, 'secret'), 1);
    expect([username.toString(), password.toString()]).toEqual(['user', 'secret']);
    const empty = credentialsOf(bytes(1, 0, 0), 0);
    expect([empty.username.length, empty.password.length]).toEqual([0, 0]);
  });
});
