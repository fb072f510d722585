import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

/** Bytes of randomness that one id uses. */
const ID_BYTES = 16;
const POOL_IDS = 256;

/**
 * Makes ids of sessions: UUIDv7 with the session's start as its time. Randomness is fetched for
 * many ids at once, because one call for each costs more than everything else about an id.
 */
export function createSessionIds(): (startedAtMs: number) => string {
  const pool = new Uint8Array(POOL_IDS * ID_BYTES);
  let at = pool.length;
  return (startedAtMs) => {
    if (at === pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    const random = pool.subarray(at, at + ID_BYTES);
    at += ID_BYTES;
    return v7({ msecs: startedAtMs, random });
  };
}
