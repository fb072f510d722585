import { FINAL_STATUSES, SESSION_EVENT_TYPES, SESSION_FIELDS } from '@sockscope/schemas';
import { z } from 'zod';
import { int64, wireTime } from './columns.js';
import { timeSql } from './expressions.js';
import { sessionRow } from './fields.js';
import { NEWS_MAX_MS } from '../stream/config.js';
import type { Query } from './query.js';

const clockRow = z.object({ now: wireTime });

/** The database's own clock, which stamps stored rows. */
export function clockQuery(): Query<typeof clockRow> {
  return { name: 'clock', sql: 'SELECT now64(3) AS now', params: {}, row: clockRow };
}

const storedEventRow = sessionRow.omit({ status: true, updated_at: true }).extend({
  type: z.enum(SESSION_EVENT_TYPES),
  seq: int64,
  occurred_at: wireTime,
  status: z.enum(FINAL_STATUSES).nullable(),
  ingested_at: wireTime,
});
export type StoredEvent = z.output<typeof storedEventRow>;

/** All of a session but `updated_at`, which is `occurred_at` of its newest event. */
const COLUMNS = SESSION_FIELDS.filter((name) => name !== 'updated_at').join(', ');

/** A position in stored events: the last row that was read. */
export type StoredPosition = Pick<StoredEvent, 'ingested_at' | 'session_id' | 'seq'>;

/**
 * Reads events that were stored at or after a time, the earliest first; with `after` only later ones.
 * Events that were old when they were stored are left out. All rows of one insert have the same time,
 * so the time alone is not a position.
 */
export function storedSinceQuery(
  sinceMs: number,
  limit: number,
  after: StoredPosition | null = null,
): Query<typeof storedEventRow> {
  const behind =
    after === null
      ? ''
      : `AND (ingested_at, session_id, seq)
          > (${timeSql('after_at')}, {after_id:UUID}, {after_seq:UInt32})`;
  return {
    name: 'stored_since',
    sql: `SELECT type, seq, occurred_at, ingested_at,
        ${COLUMNS}
      FROM session_events
      WHERE ingested_at >= ${timeSql('since')}
        AND occurred_at >= ingested_at - toIntervalMillisecond({news:UInt32}) ${behind}
      ORDER BY ingested_at, session_id, seq
      LIMIT {limit:UInt32}`,
    params: {
      since: sinceMs,
      news: NEWS_MAX_MS,
      limit,
      ...(after === null
        ? {}
        : {
            after_at: Date.parse(after.ingested_at),
            after_id: after.session_id,
            after_seq: after.seq,
          }),
    },
    row: storedEventRow,
    // New events are sent, even if their session began long ago.
    seesExpired: true,
  };
}
