import { describe, expect, it } from 'vitest';
import { LINUX } from './libc.js';
import { PipePool } from './pipe-pool.js';

/** A stand-in for libc, which cannot be made to run out of pipes without harm to this process. */
function fakeLibc() {
  const state = { free: 0, tried: 0, capacityBytes: 1_048_576 };
  return {
    state,
    addressOf: () => 0,
    pipe2() {
      state.tried += 1;
      if (state.free === 0) return -1;
      state.free -= 1;
      return 0;
    },
    fcntl: (_fd: number, command: number) =>
      command === LINUX.F_GETPIPE_SZ ? state.capacityBytes : 0,
    close: () => 0,
  };
}

describe('a pool of pipes', () => {
  it('tries again a second after a shortage, not at every read', () => {
    const libc = fakeLibc();
    let nowMs = 0;
    const pool = new PipePool(libc, { pipe_bytes: 524_288, max_pipes: 3 }, () => nowMs);
    for (let i = 0; i < 5; i += 1) expect(pool.take()).toBeNull();
    expect(libc.state.tried).toBe(1);
    expect(pool.shortages).toBe(5);
    libc.state.free = 10;
    nowMs = 999;
    expect(pool.take()).toBeNull();
    nowMs = 1_000;
    expect([pool.take(), pool.take(), pool.take(), pool.take()].map(Boolean)).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(pool.open).toBe(3);
  });

  it('does the same if pipes are too small to be of use', () => {
    const libc = fakeLibc();
    Object.assign(libc.state, { free: 10, capacityBytes: 4_096 });
    let nowMs = 0;
    const pool = new PipePool(libc, { pipe_bytes: 524_288, max_pipes: 3 }, () => nowMs);
    expect([pool.take(), pool.take(), pool.open]).toEqual([null, null, 0]);
    libc.state.capacityBytes = 1_048_576;
    nowMs = 1_000;
    expect(pool.take()).not.toBeNull();
  });
});
