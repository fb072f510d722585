/**
 * Guarantee: for every row that a batch may change, the hours whose sums it may change are marked, and in
 * them the slices of ten minutes.
 *
 * The marks are inserted after the batch's rows and before its offsets are committed. A reader that
 * sees a mark also sees the rows. After a crash in between, the batch is delivered and marked
 * again.
 *
 * A batch changes the hours of its ends and minutes, and two kinds of hours that it does not
 * contain:
 *
 * - The hour in which a session started changes with its first event only. Open sessions send heartbeats;
 *   they are remembered, so that these do not mark an hour of long ago. A session that is not remembered is
 *   looked up, unless the batch holds its first event.
 * - An event may move an end that was counted before (a session was declared crashed, and sends events again).
 *   A session that has ended is not remembered, so it is looked up before its row is replaced.
 *
 * Ends of looked-up sessions that another state follows, or may follow, become doubtful in the sums
 * before the batch's rows are inserted; see migrations/0025_ended_sessions.sql.
 *
 * A look-up has to give the same answer when the batch is delivered again after a crash. That is so because
 * it asks for rows of events with lower numbers, and events are never replaced.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createLogLimiter, messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { floorTo, SLICE_MS } from '@sockscope/schemas/sums';
import { z } from 'zod';
import type { Bookkeeper } from '../pipeline/pipeline.js';
import { changedSlices, createWriter } from './buckets.js';
import { lookUp } from './look-up.js';
import { OpenSessions } from './open-sessions.js';
import type { ChangedField } from './open-sessions.js';

export interface MarkKeeper extends Bookkeeper {
  /** Forgets all partitions but these. */
  keep(partitions: readonly number[]): void;
}

const LOOK_UP_TIMEOUT_MS = 60_000;
const RETRY_MS = 1_000;
const LOG_INTERVAL_MS = 5_000;

const ENDS =
  'groupUniqArrayIf(toUnixTimestamp64Milli(assumeNotNull(ended_at)), ended_at IS NOT NULL) AS ends';

/** A session that is not remembered, and whose first event is not in the batch. */
interface Unknown {
  readonly index: number;
  readonly id: string;
  readonly startedMs: number;
  readonly firstSeq: number;
  /** `version` of its row in the batch. */
  readonly rank: number;
  /** Its end by the batch, milliseconds since 1970; below 0 if it is open. */
  readonly endedMs: number;
}

export function createMarkKeeper(
  config: { readonly open_sessions_max: number },
  deps: {
    readonly clickhouse: Pick<ClickHouse, 'query' | 'insert'>;
    readonly logger: Logger;
    /** Called if a session has another header than in an earlier batch. */
    readonly headerChanged?: (field: ChangedField) => void;
  },
): MarkKeeper {
  const open = new OpenSessions(config.open_sessions_max);
  const writer = createWriter();
  const limiter = createLogLimiter(LOG_INTERVAL_MS);

  /** Starts of slices, in seconds since 1970, that sessions change besides the slices of the batch. */
  async function formerSlices(
    unknown: readonly Unknown[],
    signal: AbortSignal,
  ): Promise<{ readonly slices: number[]; readonly ended: ReadonlySet<number> }> {
    const call = { timeoutMs: LOOK_UP_TIMEOUT_MS, signal };
    const slices: number[] = [];
    const ended = new Set<number>();
    const rows = await lookUp(deps.clickhouse, {
      sql: (
        among,
      ) => `SELECT session_id, max(version + assumed) AS newest, max(version) AS stored_rank,
          argMax(ended_at IS NOT NULL, version) AS has_ended, ${ENDS}
        FROM sessions WHERE ${among} GROUP BY session_id`,
      sessions: unknown,
      row: z.object({
        session_id: z.string(),
        newest: int64,
        stored_rank: int64,
        has_ended: z.coerce.number(),
        ends: z.array(int64),
      }),
      call,
    });
    const stored = new Map(rows.map((row) => [row.session_id, row]));
    const again: Unknown[] = [];
    for (const session of unknown) {
      const row = stored.get(session.id);
      if (row === undefined) {
        slices.push(sliceOf(session.startedMs));
        continue;
      }
      slices.push(...row.ends.map(sliceOf));
      // Only events with lower numbers have been stored; an assumed end counts one less than its number.
      if (row.newest < session.firstSeq * 2 - 1) continue;
      // Stored already, perhaps by the same batch, whose marks may never have come.
      if (row.has_ended === 1) ended.add(session.index);
      again.push(session);
    }
    const events = await lookUp(deps.clickhouse, {
      sql: (among) => `SELECT session_id, min(seq) AS first_seq, ${ENDS}
        FROM session_events WHERE ${among} GROUP BY session_id`,
      sessions: again,
      row: z.object({ session_id: z.string(), first_seq: int64, ends: z.array(int64) }),
      call,
    });
    const told = new Map(events.map((row) => [row.session_id, row]));
    for (const session of again) {
      const row = told.get(session.id);
      slices.push(...(row?.ends ?? []).map(sliceOf));
      const wasCounted = row !== undefined && row.first_seq < session.firstSeq;
      if (!wasCounted) slices.push(sliceOf(session.startedMs));
    }
    const doubtful = unknown.flatMap((session) => {
      const row = stored.get(session.id);
      if (row === undefined) return [];
      const isEnd = row.stored_rank >= session.rank ? row.has_ended === 1 : session.endedMs >= 0;
      const ends = new Set([...row.ends, ...(told.get(session.id)?.ends ?? [])]);
      if (session.endedMs >= 0) ends.add(session.endedMs);
      return ends.size === 0 || (ends.size === 1 && isEnd)
        ? []
        : [...ends].map((endedMs) => ({ ...session, endedMs }));
    });
    await doubt(doubtful, call);
    return { slices, ended };
  }

  /** Lets `sessions` decide when these ended. A superfluous doubt does no harm. */
  async function doubt(
    sessions: readonly Unknown[],
    call: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    if (sessions.length === 0) return;
    const lines = sessions.map(({ id, startedMs, endedMs }) =>
      JSON.stringify([toTimestamp(endedMs), toTimestamp(startedMs), id]),
    );
    await deps.clickhouse.insert({
      table: 'session_ends',
      columns: ['ended_at', 'started_at', 'session_id'],
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(lines.join('\n'))],
      settings: { date_time_input_format: 'best_effort', max_partitions_per_insert_block: 0 },
      ...call,
    });
  }

  /** Repeats the look-up until it succeeds: without the answer the batch cannot be marked. */
  async function lookUpUntilAnswered(unknown: readonly Unknown[], signal: AbortSignal) {
    for (;;) {
      try {
        return await formerSlices(unknown, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        const heldBack = limiter.pass();
        if (heldBack !== null) {
          deps.logger.error(
            { err: error, sessions: unknown.length, held_back: heldBack },
            `sessions cannot be looked up, the batch waits: ${messageOf(error)}`,
          );
        }
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  return {
    async plan({ slices: batchSlices, sessions, partitions }, signal) {
      for (const { partition, firstOffset } of partitions) open.begin(partition, firstOffset);
      const slices = new Set([...batchSlices].map((ms) => ms / 1_000));
      const unknown: Unknown[] = [];
      for (let i = 0; i < sessions.length; i += 1) {
        if (open.has(sessions, i)) continue;
        const startedMs = sessions.startedMs[i] as number;
        const firstSeq = sessions.firstSeq[i] as number;
        if (firstSeq === 0) slices.add(sliceOf(startedMs));
        else {
          unknown.push({
            index: i,
            id: sessions.sessionId(i),
            startedMs,
            firstSeq,
            rank: sessions.rank[i] as number,
            endedMs: sessions.endedMs[i] as number,
          });
        }
      }
      const former = unknown.length === 0 ? null : await lookUpUntilAnswered(unknown, signal);
      for (const slice of former?.slices ?? []) slices.add(slice);
      return {
        blocks: () => (slices.size === 0 ? [] : [writer.changes(changedSlices(slices))]),
        acknowledge() {
          for (let i = 0; i < sessions.length; i += 1) {
            const isOpen = (sessions.endedMs[i] as number) < 0 && former?.ended.has(i) !== true;
            const changed = open.set(sessions, i, isOpen);
            if (changed !== null) deps.headerChanged?.(changed);
          }
          for (const { partition, nextOffset } of partitions) open.end(partition, nextOffset);
        },
      };
    },
    keep(partitions) {
      open.keep(partitions);
    },
  };
}

/** Start of the slice of ten minutes, seconds since 1970. */
function sliceOf(ms: number): number {
  return floorTo(ms, SLICE_MS) / 1_000;
}
