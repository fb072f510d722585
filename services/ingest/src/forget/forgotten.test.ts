import { describe, expect, it } from 'vitest';
import { forgottenBy } from './forgotten.js';
import type { Subject } from './forgotten.js';

const AT = 1_000_000;

function event(user: string, startedAtMs: number, last = 1): Subject {
  // The text lies somewhere in a larger buffer, as in a batch.
  const bytes = Buffer.concat([Buffer.from('xx'), Buffer.from(user), Buffer.from('yy')]);
  return {
    text: bytes.subarray(1),
    userStart: 1,
    userLength: Buffer.byteLength(user),
    startedAtMs,
    sourceIp0: 0,
    sourceIp1: 0,
    sourceIp2: 0xffff,
    sourceIp3: 0x0a000000 + last,
  };
}

describe('a forgotten user', () => {
  const has = forgottenBy([{ kind: 'user', value: 'zoë', throughMs: AT }]);

  it('drops events of sessions that started before the decision, and keeps later ones', () => {
    expect([AT - 1, AT].map((at) => has(event('zoë', at)))).toEqual([true, false]);
  });

  it('is distinguished from users with similar names', () => {
    for (const other of ['zoe', 'zo', 'zoëy', 'xzoë', 'Zoë', 'zoe\u0308', '']) {
      expect([other, has(event(other, 0))]).toEqual([other, false]);
    }
  });
});

describe('a forgotten source address', () => {
  it('loses its events, and no other address does', () => {
    for (const value of ['10.0.0.7', '::ffff:10.0.0.7']) {
      const has = forgottenBy([{ kind: 'source_ip', value, throughMs: AT }]);
      expect([7, 8].map((last) => has(event('anybody', 0, last)))).toEqual([true, false]);
      expect(has(event('anybody', AT, 7))).toBe(false);
    }
  });
});

it('no event is dropped without a decision', () => {
  expect(forgottenBy([])(event('alice', 0))).toBe(false);
});
