/** Damages a broker's stored bytes, as a failing disk does. */
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const BATCH_HEADER_BYTES = 61;
const LENGTH_PREFIX_BYTES = 12;

/**
 * Flips a bit in the records of the batch that holds an offset.
 *
 * @param folder of the partition, `TOPIC-N` in the log folder of its broker.
 * @returns the offset of the batch's first record.
 */
export async function damageBatch(folder: string, offset: number): Promise<number> {
  return changeBatch(folder, offset, (batch) => {
    const flipped = Math.floor((BATCH_HEADER_BYTES + batch.length) / 2);
    batch[flipped] = (batch[flipped] ?? 0) ^ 0x10;
  });
}

/**
 * Changes the stored bytes of the batch that holds an offset; its length stays.
 *
 * @returns the offset of the batch's first record.
 */
export async function changeBatch(
  folder: string,
  offset: number,
  change: (batch: Buffer) => void,
): Promise<number> {
  const segments = (await readdir(folder)).filter((name) => name.endsWith('.log')).toSorted();
  for (const name of segments.toReversed()) {
    const file = await open(join(folder, name), 'r+');
    try {
      const bytes = await file.readFile();
      for (let at = 0; at + BATCH_HEADER_BYTES < bytes.length;) {
        const end = at + LENGTH_PREFIX_BYTES + bytes.readInt32BE(at + 8);
        const base = Number(bytes.readBigInt64BE(at));
        if (base <= offset && offset <= base + bytes.readInt32BE(at + 23)) {
          const batch = bytes.subarray(at, end);
          change(batch);
          await file.write(batch, 0, batch.length, at);
          return base;
        }
        at = end;
      }
    } finally {
      await file.close();
    }
  }
  throw new Error(`no batch in ${folder} holds offset ${offset}`);
}
