import { describe, expect, it } from 'vitest';
import { createDensityMemory } from './density.js';
import { FILTERED } from './windows.js';

const NOW_MS = Date.parse('2026-03-15T12:00:00.000Z');
const usual = { pace: FILTERED, anchorMs: NOW_MS };

describe('the density memory', () => {
  it('has no guess for filters without a full page', () => {
    expect(createDensityMemory().begin('a', 51, usual, NOW_MS)).toBeNull();
  });

  it('begins with twice the time that held a page of the same filters', () => {
    const memory = createDensityMemory();
    memory.learn('a', [10_000, 9_000, 8_000, 7_000, 6_000], false, NOW_MS);
    expect(memory.begin('a', 10, usual, NOW_MS)?.pace).toEqual({ ...FILTERED, firstMs: 16_000 });
    expect(memory.begin('b', 10, usual, NOW_MS)).toBeNull();
  });

  it('begins where the newest session was, as long as that is probably still the newest', () => {
    const memory = createDensityMemory();
    const newestMs = NOW_MS - 3_600_000;
    memory.learn('a', [newestMs, newestMs - 1_000], true, NOW_MS);
    expect(memory.begin('a', 10, usual, NOW_MS + 60_000)?.anchorMs).toBe(newestMs);
    expect(memory.begin('a', 10, usual, NOW_MS + 60_001)?.anchorMs).toBe(NOW_MS);
  });

  it('keeps a slice of some length if all sessions of a page start together', () => {
    const memory = createDensityMemory();
    memory.learn('a', [5_000, 5_000, 5_000], false, NOW_MS);
    expect(memory.begin('a', 10, usual, NOW_MS)?.pace.firstMs).toBe(1);
  });
});
