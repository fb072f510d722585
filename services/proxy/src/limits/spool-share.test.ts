import { ANONYMOUS_USER } from '@sockscope/schemas';
import { describe, expect, it } from 'vitest';
import { SpoolShare } from './spool-share.js';

const SESSION_BYTES = 1_024;

describe('the shares of the spool', () => {
  /** A spool that each session fills, as while Kafka is away. */
  function filling(sessions: number, atStart: number) {
    const spool = {
      bytes: atStart * SESSION_BYTES,
      maxBytes: sessions * SESSION_BYTES,
      holdsLess: (bytes: number): boolean => spool.bytes < bytes,
    };
    const share = new SpoolShare(spool);
    return {
      spool,
      open: (user: string, network: string): boolean => {
        const isOpen = share.take(user, [network]);
        if (isOpen) spool.bytes += SESSION_BYTES;
        return isOpen;
      },
    };
  }

  it('leave room for others when one source and one user fill it continuously', () => {
    const { spool, open } = filling(8_000, 1_000);
    for (let n = 0; n < 10_000; n += 1) {
      open(ANONYMOUS_USER, '192.0.2.1');
      open('mallory', `198.51.100.${n % 250}`);
    }
    expect(spool.bytes).toBeLessThan(spool.maxBytes / 2);
    expect(open(ANONYMOUS_USER, '192.0.2.1')).toBe(false);
    expect(open('mallory', '203.0.113.1')).toBe(false);
    for (let n = 0; n < 100; n += 1) expect(open('alice', '203.0.113.1')).toBe(true);
  });

  it('leave room when ten sources fill it continuously', () => {
    const { open } = filling(8_000, 1_000);
    for (let n = 0; n < 10; n += 1) {
      for (let i = 0; i < 3_000; i += 1) open(ANONYMOUS_USER, `source ${n}`);
    }
    for (let n = 0; n < 80; n += 1) expect(open('alice', '203.0.113.1')).toBe(true);
  });

  it('limit no source while events reach Kafka, and forget usage when they do again', () => {
    const { spool, open } = filling(8_000, 0);
    for (let n = 0; n < 5_000; n += 1) {
      expect(open('alice', '192.0.2.1')).toBe(true);
      spool.bytes = 0;
    }
    spool.bytes = spool.maxBytes / 2;
    while (open('alice', '192.0.2.1'));
    const full = spool.bytes;
    spool.bytes = 0;
    expect(open('alice', '192.0.2.1')).toBe(true);
    spool.bytes = full;
    expect(open('alice', '192.0.2.1')).toBe(true);
  });
});
