import { Histogram, Registry } from '@sockscope/runtime';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergedText } from '../workers/metrics-merge.js';
import { Buckets } from './buckets.js';

const NAMED = { name: 'test_seconds', help: 'How long it took.' };

describe('a histogram of plain numbers', () => {
  it('reads as one of prom-client does, alone and added up over processes', async () => {
    const bounds = [0.01, 0.5, 1, 60];
    const value = fc.oneof(
      fc.constantFrom(0, ...bounds),
      fc.double({ min: 0, max: 100, noNaN: true }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(value, { minLength: 1 }), async (values) => {
        const [ours, theirs] = [new Registry(), new Registry()];
        const plain = new Buckets({ ...NAMED, buckets: bounds, registry: ours });
        const histogram = new Histogram({ ...NAMED, buckets: bounds, registers: [theirs] });
        for (const each of values) {
          plain.add(each);
          histogram.observe(each);
        }
        expect(await ours.metrics()).toBe(await theirs.metrics());
        const [ownJson, theirJson] = [
          await ours.getMetricsAsJSON(),
          await theirs.getMetricsAsJSON(),
        ];
        expect(await mergedText([ownJson, ownJson])).toBe(await mergedText([theirJson, theirJson]));
      }),
    );
  });

  it('shows every bucket at 0 before the first value', async () => {
    const registry = new Registry();
    new Buckets({ ...NAMED, buckets: [1], registry });
    expect(await registry.metrics()).toContain('test_seconds_bucket{le="1"} 0');
  });
});
