import { describe, expect, it } from 'vitest';
import { REPLY, REPLY_NAMES } from './protocol.js';
import { failureReply, replyOfErrno, successReply } from './replies.js';

describe('replies', () => {
  it('carry the bound IPv4 address and port', () => {
    expect([...successReply('192.0.2.254', 0xabcd)]).toEqual([
      5, 0, 0, 1, 192, 0, 2, 254, 0xab, 0xcd,
    ]);
  });

  it('carry the bound IPv6 address and port', () => {
    const reply = successReply('2001:db8::7', 1);
    expect(reply.toString('hex')).toBe('0500000420010db80000000000000000000000070001');
  });

  it.each(REPLY_NAMES.filter((name) => name !== 'succeeded'))('%s is ten bytes long', (name) => {
    expect([...failureReply(name)]).toEqual([5, REPLY[name], 0, 1, 0, 0, 0, 0, 0, 0]);
  });

  it.each([
    ['ECONNREFUSED', 5],
    ['ENETUNREACH', 3],
    ['EHOSTUNREACH', 4],
    ['ETIMEDOUT', 4],
    ['EACCES', 2],
    ['EMFILE', 1],
    ['anything else', 1],
  ])('%s is reported as reply %i', (code, reply) => {
    expect(REPLY[replyOfErrno(code)]).toBe(reply);
  });
});
