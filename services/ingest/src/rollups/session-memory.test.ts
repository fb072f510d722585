import { describe, expect, it } from 'vitest';
import { SessionMemory } from './session-memory.js';

const END = 3_600_000;
const set = (memory: SessionMemory, n: number, value: number) => {
  memory.set(0, 0, 0, n, value);
};
const get = (memory: SessionMemory, n: number) => memory.get(0, 0, 0, n);

describe('the memory of sessions', () => {
  it('remembers open sessions however many ended ones come between', () => {
    const memory = new SessionMemory(400);
    for (let n = 0; n < 50; n += 1) set(memory, n, 0);
    for (let n = 1_000; n < 9_000; n += 1) set(memory, n, END);
    for (let n = 0; n < 50; n += 1) expect(get(memory, n)).toBe(0);
    expect(get(memory, 8_999)).toBe(END);
    expect(get(memory, 1_000)).toBe(-1);
  });

  it('never holds an older number of a session than the one that was set last', () => {
    const memory = new SessionMemory(40);
    for (let n = 0; n < 5; n += 1) set(memory, n, 0);
    for (let n = 100; n < 120; n += 1) set(memory, n, END);
    for (let n = 0; n < 5; n += 1) set(memory, n, END + n);
    for (let n = 200; n < 1_000; n += 1) {
      set(memory, n, END);
      for (let old = 0; old < 5; old += 1) expect([-1, END + old]).toContain(get(memory, old));
    }
  });

  it('forgets open sessions too where there are too many', () => {
    const memory = new SessionMemory(400);
    for (let n = 0; n < 10_000; n += 1) set(memory, n, 0);
    const known = Array.from({ length: 10_000 }, (_, n) => get(memory, n)).filter((v) => v === 0);
    expect(known.length).toBeLessThanOrEqual(400);
    expect(get(memory, 9_999)).toBe(0);
  });
});
