import type { Relay, RelayEnd, RelayLimits, RelayPair } from '../relay.js';
import { createSweep } from '../sweep.js';
import type { Sweep } from '../sweep.js';
import { takeOver } from '../take-over.js';
import { createBufferPool } from './buffers.js';
import { StreamSession } from './stream-session.js';
import type { Promotion } from './stream-session.js';
import { createTurns } from './turns.js';

/** Runs sessions in this process; with a promotion, until it takes them. */
export function createStreams(
  sweep: Sweep,
  promotion: Promotion | null,
): (pair: RelayPair) => Promise<RelayEnd> {
  const pool = createBufferPool();
  const turns = createTurns();
  return (pair) =>
    takeOver(
      pair,
      () =>
        new Promise((resolve) => {
          const session = new StreamSession(pair, {
            pool,
            turns,
            promotion,
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
    start() {
      sweep.start();
      return Promise.resolve();
    },
    run: createStreams(sweep, null),
    stop() {
      sweep.stop();
      return Promise.resolve();
    },
  };
}
