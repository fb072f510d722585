import type { Relay, RelayEnd, RelayLimits, RelayPair } from '../relay.js';
import { createSweep } from '../sweep.js';
import type { Sweep } from '../sweep.js';
import { whenFlushed } from '../when-flushed.js';
import { createBufferPool } from './buffers.js';
import { StreamSession } from './stream-session.js';
import type { Promotion } from './stream-session.js';
import { createReadBudget } from './read-budget.js';

/** Runs sessions in this process; with a promotion, until it takes them. */
export function createStreams(
  sweep: Sweep,
  keepaliveMs: number,
  promotion: Promotion | null,
): (pair: RelayPair) => Promise<RelayEnd> {
  const pool = createBufferPool();
  const budget = createReadBudget();
  return (pair) =>
    whenFlushed(
      pair,
      () =>
        new Promise((resolve) => {
          const session = new StreamSession(pair, {
            pool,
            budget,
            promotion,
            keepaliveMs,
            onEnd: (ended, end) => {
              sweep.delete(ended);
              resolve(end);
            },
          });
          sweep.add(session);
          session.start();
        }),
    );
}

/** The relay that runs everywhere: bytes pass through this process. */
export function createStreamRelay(limits: RelayLimits): Relay {
  const sweep = createSweep(limits);
  return {
    name: 'stream',
    descriptors: 0,
    maxDescriptors: 0,
    start() {
      sweep.start();
      return Promise.resolve();
    },
    run: createStreams(sweep, limits.keepalive_ms, null),
    stop() {
      sweep.stop();
      return Promise.resolve();
    },
  };
}
