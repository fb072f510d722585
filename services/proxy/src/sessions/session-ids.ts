import { randomFillSync } from 'node:crypto';

const ID_BYTES = 16;
const POOL_IDS = 256;
const HYPHEN = 0x2d;
/** Place of each byte's two digits in the text: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`. */
const PLACES = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const TEXT_LENGTH = 36;
const DIGITS = Buffer.from('0123456789abcdef');

/**
 * Makes ids of sessions: UUIDv7 (RFC 9562) with the session's start as its time. Randomness is fetched for
 * many ids at once, because one call for each costs more than everything else about an id. A library makes
 * a text of many parts, which its first reader has to put together.
 */
export function createSessionIds(): (startedAtMs: number) => string {
  const pool = Buffer.alloc(POOL_IDS * ID_BYTES);
  const text = Buffer.alloc(TEXT_LENGTH, HYPHEN);
  let at = pool.length;
  return (startedAtMs) => {
    if (at === pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    pool.writeUIntBE(startedAtMs, at, 6);
    pool[at + 6] = 0x70 | ((pool[at + 6] as number) & 0x0f);
    pool[at + 8] = 0x80 | ((pool[at + 8] as number) & 0x3f);
    for (let i = 0; i < ID_BYTES; i += 1) {
      const byte = pool[at + i] as number;
      const place = PLACES[i] as number;
      text[place] = DIGITS[byte >> 4] as number;
      text[place + 1] = DIGITS[byte & 15] as number;
    }
    at += ID_BYTES;
    return text.toString('latin1');
  };
}
