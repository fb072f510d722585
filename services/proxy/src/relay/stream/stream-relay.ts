import type { Relay, RelayLimits } from '../relay.js';
import { createSweep } from '../sweep.js';
import { takeOver } from '../take-over.js';
import { createBufferPool } from './buffers.js';
import { StreamSession } from './stream-session.js';

/** The relay that runs everywhere: bytes pass through this process, in one buffer per busy direction. */
export function createStreamRelay(limits: RelayLimits): Relay {
  const pool = createBufferPool();
  const sweep = createSweep(limits);
  return {
    name: 'stream',
    start() {
      sweep.start();
      return Promise.resolve();
    },
    run(pair) {
      return takeOver(
        pair,
        () =>
          new Promise((resolve) => {
            const session = new StreamSession(pair, pool, (end) => {
              sweep.delete(session);
              resolve(end);
            });
            sweep.add(session);
            session.start();
          }),
      );
    },
    stop() {
      sweep.stop();
      return Promise.resolve();
    },
  };
}
