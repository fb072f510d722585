import { describe, expect, it } from 'vitest';
import { createBatches } from './batches.js';

const never = new AbortController().signal;

/** A database whose answers the test gives. */
function bench(config: { running_max?: number; keys_max?: number } = {}) {
  const asked: {
    keys: readonly string[];
    signal: AbortSignal;
    answer(found: Readonly<Record<string, number>>): void;
    fail(error: Error): void;
  }[] = [];
  const batches = createBatches<number>(
    { running_max: 1, keys_max: 100, ...config },
    (keys, signal) =>
      new Promise((resolve, reject) => {
        asked.push({
          keys,
          signal,
          answer: (found) => {
            resolve(new Map(Object.entries(found)));
          },
          fail: reject,
        });
      }),
  );
  return { batches, asked };
}

const turn = () =>
  new Promise<void>((resolve) => {
    setImmediate(resolve);
  });

describe('batches', () => {
  it('ask at once while nothing is under way, and together for all callers that come meanwhile', async () => {
    const { batches, asked } = bench();
    const first = batches.look('a', never);
    const rest = ['b', 'c', 'b'].map((key) => batches.look(key, never));
    expect(asked.map(({ keys }) => keys)).toEqual([['a']]);
    asked[0]?.answer({ a: 1 });
    expect(await first).toBe(1);
    await turn();
    expect(asked[1]?.keys).toEqual(['b', 'c']);
    asked[1]?.answer({ b: 2 });
    expect(await Promise.all(rest)).toEqual([2, undefined, 2]);
  });

  it('ask for a limited number of keys at once, and leave the others for the next question', async () => {
    const { batches, asked } = bench({ keys_max: 2 });
    const all = ['a', 'b', 'c', 'd'].map((key) => batches.look(key, never));
    for (let n = 0; n < 3; n += 1) {
      asked[n]?.answer({});
      await turn();
    }
    expect(asked.map(({ keys }) => keys)).toEqual([['a'], ['b', 'c'], ['d']]);
    expect(await Promise.all(all)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('report a failure to all waiting callers, and continue with the next', async () => {
    const { batches, asked } = bench();
    const first = batches.look('a', never);
    const second = batches.look('b', never);
    asked[0]?.fail(new Error('down'));
    await expect(first).rejects.toThrow('down');
    await turn();
    asked[1]?.answer({ b: 2 });
    expect(await second).toBe(2);
  });

  it('are given up only when nobody waits, and do not ask for callers that have gone', async () => {
    const { batches, asked } = bench();
    const gone = [new AbortController(), new AbortController(), new AbortController()];
    const [a, b, c] = gone.map((each) => each.signal);
    if (a === undefined || b === undefined || c === undefined) return expect.unreachable();
    const looks = [batches.look('a', a), batches.look('a', b), batches.look('c', c)];
    const outcomes = Promise.allSettled(looks);
    gone[2]?.abort();
    gone[0]?.abort();
    await turn();
    expect(asked[0]?.signal.aborted).toBe(false);
    gone[1]?.abort();
    expect((await outcomes).map(({ status }) => status)).toEqual([
      'rejected',
      'rejected',
      'rejected',
    ]);
    asked[0]?.fail(new Error('aborted'));
    await turn();
    expect(asked).toHaveLength(1);
  });
});
