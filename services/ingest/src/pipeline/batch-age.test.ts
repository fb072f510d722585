import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BatchAge } from './batch-age.js';

let written: number[];
let age: BatchAge;

beforeEach(() => {
  vi.useFakeTimers();
  written = [];
  age = new BatchAge({ batch_age_ms: 100, batch_small_events: 50 }, () => {
    written.push(Date.now());
    age.reset();
  });
  vi.setSystemTime(0);
});

afterEach(() => {
  vi.useRealTimers();
});

describe('a batch that is not full', () => {
  it('is written at its age, counted from its first record', () => {
    age.grown(1);
    vi.advanceTimersByTime(60);
    age.grown(50);
    vi.advanceTimersByTime(1_000);
    expect(written).toEqual([100]);
  });

  it('waits for two and a half times its age if it is small', () => {
    age.grown(49);
    vi.advanceTimersByTime(1_000);
    expect(written).toEqual([250]);
  });

  it('keeps its time if it grows after its age, so that a batch is larger and not sooner', () => {
    age.grown(49);
    vi.advanceTimersByTime(130);
    age.grown(5_000);
    vi.advanceTimersByTime(1_000);
    expect(written).toEqual([250]);
  });

  it('waits for twice the write time of the previous batch, and never for more than 5 s', () => {
    age.took(300);
    age.grown(50);
    vi.advanceTimersByTime(10_000);
    age.took(60_000);
    age.grown(1);
    vi.advanceTimersByTime(10_000);
    expect(written).toEqual([600, 15_000]);
  });

  it('begins with the first record after the previous batch', () => {
    age.grown(50);
    vi.advanceTimersByTime(60);
    age.reset();
    vi.advanceTimersByTime(60);
    age.grown(50);
    vi.advanceTimersByTime(1_000);
    expect(written).toEqual([220]);
  });
});
