import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CountLedger } from './count-ledger.js';
import { CountShare } from './count-share.js';

const WORKERS = [1, 2, 3];

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      worker: fc.constantFrom(...WORKERS),
      key: fc.constantFrom('a', 'b', ''),
      count: fc.nat({ max: 5 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant('exchange' as const) },
  { weight: 1, arbitrary: fc.record({ dies: fc.constantFrom(...WORKERS) }) },
);

describe('counts shared by workers', () => {
  it('converge to the counts of the others, in any order of events', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ledger = new CountLedger();
        const shares = new Map(WORKERS.map((worker) => [worker, new CountShare()]));
        const held = new Map(WORKERS.map((worker) => [worker, new Map<string, number>()]));
        const exchange = (): void => {
          for (const [worker, share] of shares) ledger.report(worker, share.takeChanges());
          for (const [worker, counts] of ledger.takeUpdates(WORKERS)) {
            shares.get(worker)?.learn(counts);
          }
        };
        for (const one of steps) {
          if (one === 'exchange') {
            exchange();
          } else if ('dies' in one) {
            ledger.forget(one.dies);
            held.set(one.dies, new Map());
            const fresh = new CountShare();
            fresh.learn(ledger.snapshotFor(one.dies));
            shares.set(one.dies, fresh);
          } else {
            held.get(one.worker)?.set(one.key, one.count);
            shares.get(one.worker)?.changed('max_sessions_per_user', one.key, one.count);
          }
        }
        exchange();
        for (const worker of WORKERS) {
          for (const key of ['a', 'b', '']) {
            const others = WORKERS.filter((other) => other !== worker)
              .map((other) => held.get(other)?.get(key) ?? 0)
              .reduce((sum, count) => sum + count, 0);
            expect(shares.get(worker)?.others('max_sessions_per_user', key)).toBe(others);
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('send nothing if nothing changed, and forget unused counts', () => {
    const ledger = new CountLedger();
    ledger.report(1, [['max_sessions', '', 3]]);
    expect(ledger.takeUpdates([1, 2])).toEqual(new Map([[2, [['max_sessions', '', 3]]]]));
    expect(ledger.takeUpdates([1, 2])).toEqual(new Map());
    ledger.report(1, [['max_sessions', '', 0]]);
    expect(ledger.takeUpdates([1, 2])).toEqual(new Map([[2, [['max_sessions', '', 0]]]]));
    expect(ledger.snapshotFor(2)).toEqual([]);
  });
});
