/** kill -9 at every step between a fetch and its commit, one after the other on the same data. */
import { describe, expect, inject, it } from 'vitest';
import '@sockscope/runtime/testing';
import { createBed } from '../testing/bed.js';
import { STEPS } from '../testing/steps.js';
import type { Step } from '../testing/steps.js';

/** Each lane is a topic and a database of its own; they run at the same time, because most of it is waiting. */
const LANES = 4;
const lanes = Array.from({ length: LANES }, (_, lane) => ({
  lane,
  steps: STEPS.filter((_step, i) => i % LANES === lane),
}));

/** Goes to the dead-letter topic, so that every batch has something to do there. */
const POISON = { key: 'x', value: 'not an event', headers: {} };

describe('an ingest that is killed', () => {
  it.concurrent.each(lanes)(
    'at any step leaves nothing out and counts nothing twice (lane $lane)',
    async ({ lane, steps }: { lane: number; steps: readonly Step[] }) => {
      const bed = await createBed({
        brokers: inject('kafkaBrokers'),
        clickhouseUrl: inject('clickhouseUrl'),
        seed: lane + 1,
      });
      try {
        for (const step of steps) {
          await bed.produce(60);
          await bed.produceRecords([POISON]);
          const victim = bed.start({ pauseAt: step });
          await victim.paused();
          await victim.end();
        }
        const survivor = bed.start();
        await bed.committed();
        await bed.expectExact();
        expect(await survivor.stop()).toBe(0);
      } finally {
        await bed.remove();
      }
    },
  );
});
