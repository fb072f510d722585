import { describe, expect, it } from 'vitest';
import { Progress } from './progress.js';

const LIMIT_MS = 1_000;

function watch(): Progress {
  const progress = new Progress(LIMIT_MS);
  progress.assign([0, 1]);
  return progress;
}

const ends = (first: number, second: number) =>
  new Map([
    [0, first],
    [1, second],
  ]);

describe('the progress of partitions', () => {
  it('finds a partition whose end moves while no batch of it comes', () => {
    const progress = watch();
    expect(progress.look(ends(5, 5), 0)).toEqual([]);
    expect(progress.look(ends(6, 6), 500)).toEqual([]);
    progress.passed(1);
    expect(progress.look(ends(7, 7), 1_500)).toEqual([]);
    expect(progress.look(ends(7, 7), 1_501)).toEqual([0]);
    expect(progress.still()).toEqual([0]);
  });

  it('finds nothing if no records arrive', () => {
    const progress = watch();
    progress.look(ends(5, 5), 0);
    expect(progress.look(ends(5, 5), 60_000)).toEqual([]);
  });

  it('does not count a partition from before its last batch', () => {
    const progress = watch();
    progress.look(ends(5, 5), 0);
    progress.look(ends(6, 5), 100);
    progress.passed(0);
    progress.look(ends(7, 5), 1_000);
    expect(progress.look(ends(7, 5), 60_000)).toEqual([]);
  });

  it('does not count the time without room for another batch', () => {
    const progress = watch();
    progress.look(ends(5, 5), 0);
    progress.look(ends(6, 6), 100);
    progress.blocked();
    expect(progress.look(ends(7, 7), 5_000)).toEqual([]);
  });

  it('remembers a partition over a restart of the consumer until a batch of it arrives', () => {
    const progress = watch();
    progress.look(ends(5, 5), 0);
    progress.look(ends(6, 6), 100);
    progress.look(ends(6, 6), 2_000);
    progress.assign([0, 1]);
    expect(progress.still()).toEqual([0, 1]);
    progress.passed(0);
    expect(progress.still()).toEqual([1]);
    progress.assign([0]);
    expect(progress.still()).toEqual([]);
  });
});
