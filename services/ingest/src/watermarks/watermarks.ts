/**
 * Writes down with each batch how far each partition has been folded: the offset that comes next
 * and the latest time that its events carry. It is stored after the batch's rows, so a reader of
 * the offset finds all rows below it.
 */
import { toTimestamp } from '@sockscope/schemas';
import type { Bookkeeper } from '../pipeline/pipeline.js';

const COLUMNS = ['topic', 'partition', 'watermark', 'next_offset', 'caught_up'] as const;

export interface WatermarkKeeper extends Bookkeeper {
  /** Call it after a new assignment of partitions. */
  forget(): void;
  /**
   * Newest time of a partition's events that are stored, milliseconds since 1970; null if none is
   * known.
   */
  newestMs(partition: number): number | null;
}

/** @param now milliseconds since 1970: a proxy whose clock is ahead does not carry the watermark with it. */
export function createWatermarkKeeper(
  config: { readonly topic: string },
  now: () => number = Date.now,
): WatermarkKeeper {
  const latest = new Map<number, number>();

  return {
    async plan(batch) {
      const learnt: (readonly [number, number])[] = [];
      const rows: string[] = [];
      for (const { partition, newestMs, nextOffset, caughtUp } of batch.partitions) {
        const ms = Math.max(Math.min(newestMs ?? 0, now()), latest.get(partition) ?? 0);
        learnt.push([partition, ms]);
        rows.push(
          JSON.stringify([config.topic, partition, toTimestamp(ms), nextOffset, caughtUp ? 1 : 0]),
        );
      }
      return {
        blocks: () =>
          [
            {
              table: 'ingest_watermarks',
              columns: COLUMNS,
              format: 'JSONCompactEachRow',
              bytes: [Buffer.from(rows.join('\n'))],
              rows: rows.length,
            } as const,
          ].filter((block) => block.rows > 0),
        acknowledge() {
          for (const [partition, ms] of learnt) latest.set(partition, ms);
        },
      };
    },
    forget() {
      latest.clear();
    },
    newestMs(partition) {
      const ms = latest.get(partition) ?? 0;
      return ms === 0 ? null : ms;
    },
  };
}
