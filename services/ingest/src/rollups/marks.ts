/**
 * Guarantee: for every row that a batch may change, the hours whose sums it may change are marked.
 *
 * The marks are inserted after the batch's rows and before its offsets are committed. So whoever sees
 * a mark also sees the rows, and a crash in between delivers the batch again, with new marks.
 */
import { randomUUID } from 'node:crypto';
import { toTimestamp } from '@sockscope/schemas';
import type { Bookkeeper } from '../pipeline/pipeline.js';
import type { TableBlock } from '../tables/block.js';
import { SessionMemory } from './session-memory.js';

const HOUR_MS = 3_600_000;

export interface MarkKeeper extends Bookkeeper {
  /** To be called when partitions were assigned anew: another process may have gone on meanwhile. */
  forget(): void;
}

/**
 * A session's hours are those of its start, of its end and of its minutes. Two things make that more
 * than looking at the batch:
 *
 * - An open session sends a heartbeat twice a minute. Its start was counted with its first event, and
 *   marking that hour again with every heartbeat would recompute the hours of all open sessions all
 *   the time. So sessions whose start has been marked are remembered, up to a limit.
 * - A later event may move a session's end (found crashed, say, and then heard of again), and the hour
 *   of the former end changes too. It is known from memory, or the batch holds the whole session; else
 *   the session itself is marked, and the round looks its former ends up.
 */
export function createMarkKeeper(config: { readonly known_sessions_max: number }): MarkKeeper {
  const known = new SessionMemory(config.known_sessions_max);
  let generation = 0;

  return {
    plan({ hours: batchHours, sessions }) {
      const hours = new Set(batchHours);
      const unknown: string[][] = [];
      const markId = randomUUID();
      const planned = generation;
      const { id0, id1, id2, id3, length } = sessions;
      /** Hour of the end that is marked now, 0 for none. */
      const ends = new Float64Array(length);
      for (let i = 0; i < length; i += 1) {
        const endBefore = known.get(
          id0[i] as number,
          id1[i] as number,
          id2[i] as number,
          id3[i] as number,
        );
        if (endBefore < 0) {
          hours.add(hourOf(sessions.startedMs[i] as number));
          // Of a whole session, whatever was stored before is among it, or newer.
          if (!sessions.isWhole(i)) {
            const startedAt = toTimestamp(sessions.startedMs[i] as number);
            unknown.push([markId, sessions.sessionId(i), startedAt]);
          }
        } else if (endBefore > 0) {
          hours.add(endBefore);
        }
        const endedMs = sessions.endedMs[i] as number;
        ends[i] = endedMs < 0 ? Math.max(0, endBefore) : hourOf(endedMs);
      }
      const hourRows = [...hours].map((ms) => [markId, toTimestamp(ms)]);
      return {
        blocks: [
          rowBlock('ingest_dirty_hours', ['mark_id', 'hour'], hourRows),
          rowBlock('ingest_dirty_sessions', ['mark_id', 'session_id', 'started_at'], unknown),
        ].filter((block) => block.rows > 0),
        acknowledge() {
          if (planned !== generation) return;
          for (let i = 0; i < length; i += 1) {
            known.set(
              id0[i] as number,
              id1[i] as number,
              id2[i] as number,
              id3[i] as number,
              ends[i] as number,
            );
          }
        },
      };
    },
    forget() {
      generation += 1;
      known.clear();
    },
  };
}

function hourOf(ms: number): number {
  return ms - (ms % HOUR_MS);
}

function rowBlock(
  table: string,
  columns: readonly string[],
  rows: readonly string[][],
): TableBlock {
  const text = rows.map((row) => JSON.stringify(row)).join('\n');
  return {
    table,
    columns,
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(text)],
    rows: rows.length,
  };
}
