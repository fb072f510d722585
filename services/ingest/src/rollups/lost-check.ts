/**
 * Compares the sessions that were declared lost with `sessions`. If a lost session sends events
 * again, its end moves, and no event names the former one.
 */
import { int64 } from '@sockscope/runtime/clickhouse';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { HOUR_MS } from '@sockscope/schemas/sums';
import { toTimestamp } from '@sockscope/schemas';
import { z } from 'zod';
import { LOST_STATE } from '../lost/states.js';
import { lookUp } from './look-up.js';

/** Rows of one read, and reads of one check; the next check continues with the rest. */
const PAGE = 10_000;
const PAGES_MAX = 20;
/** A time before every start of a session, milliseconds since 1970. */
const BEFORE_ALL_MS = -1;

const lostRow = z.object({
  session_id: z.string(),
  started_ms: int64,
  ended_ms: int64,
  version: int64,
});

export interface LostCheck {
  /** @returns whether some are left for the next check. */
  check(): Promise<boolean>;
}

/** @param mark marks hours, seconds since 1970. */
export function createLostCheck(
  clickhouse: Pick<ClickHouse, 'query' | 'insert'>,
  mark: (hoursS: readonly number[]) => Promise<void>,
  call: { readonly timeoutMs: number; readonly signal: AbortSignal },
): LostCheck {
  /** Lost sessions that began until then have been compared, milliseconds since 1970. */
  let comparedMs = BEFORE_ALL_MS;

  async function compare(lost: readonly z.output<typeof lostRow>[]): Promise<void> {
    const rows = await lookUp(clickhouse, {
      // The row that counts is the one of the highest version, merged or not. An assumed end has the version
      // of the lost row that it replaces.
      sql: (among) =>
        `SELECT session_id, max(version + assumed) AS newest FROM sessions WHERE ${among} GROUP BY session_id`,
      sessions: lost.map(({ session_id, started_ms }) => ({
        id: session_id,
        startedMs: started_ms,
      })),
      row: z.object({ session_id: z.string(), newest: int64 }),
      call,
    });
    const newest = new Map(rows.map((row) => [row.session_id, row.newest]));
    const back = lost.filter((row) => (newest.get(row.session_id) ?? 0) > row.version);
    if (back.length === 0) return;
    await mark([...new Set(back.map(({ ended_ms }) => (ended_ms - (ended_ms % HOUR_MS)) / 1_000))]);
    const settled = back.map((row) => [
      row.session_id,
      toTimestamp(row.started_ms),
      toTimestamp(row.ended_ms),
      row.version,
      LOST_STATE.overridden,
    ]);
    await clickhouse.insert({
      table: 'ingest_lost_sessions',
      columns: ['session_id', 'started_at', 'ended_at', 'version', 'state'],
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(settled.map((row) => JSON.stringify(row)).join('\n'))],
      settings: { date_time_input_format: 'best_effort' },
      ...call,
    });
  }

  return {
    async check() {
      for (let pages = 0; pages < PAGES_MAX; pages += 1) {
        const lost = await clickhouse.query({
          sql: `SELECT session_id, toUnixTimestamp64Milli(started_at) AS started_ms,
              toUnixTimestamp64Milli(ended_at) AS ended_ms, version
            FROM ingest_lost_sessions FINAL
            WHERE state < ${LOST_STATE.overridden} AND started_at > fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')
            ORDER BY started_at LIMIT {limit:UInt32} WITH TIES`,
          params: { after_ms: comparedMs, limit: PAGE },
          row: lostRow,
          ...call,
        });
        await compare(lost);
        comparedMs = lost.at(-1)?.started_ms ?? BEFORE_ALL_MS;
        if (lost.length < PAGE) {
          comparedMs = BEFORE_ALL_MS;
          return false;
        }
      }
      return true;
    },
  };
}
