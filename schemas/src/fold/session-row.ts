import type { CloseReason, SessionStatus } from '../events/close-reason.js';
import type { SessionEvent, SessionClosed } from '../events/events.js';
import { namesIn } from '../events/fields.js';
import type { NameIn } from '../events/fields.js';

type Carried = NameIn<'identity' | 'origin' | 'header' | 'totals'>;
type Closing = NameIn<'closing'>;

/**
 * A session as the `sessions` table holds it: one event's whole row, never a mixture of several.
 * Fields that only SessionClosed has are null before it, except the status, which is `active`.
 */
export type SessionRow = Readonly<
  Pick<SessionEvent, Carried> & {
    [N in Exclude<Closing, 'status' | 'close_reason' | 'assumed'>]: SessionClosed[N] | null;
  } & {
    status: SessionStatus;
    close_reason: CloseReason | null;
    assumed: boolean;
    /** `occurred_at` of the event that this row is. */
    updated_at: string;
    /** The higher one wins: `seq * 2`, less 1 for an assumed end, and `seq * 2 + 1` for a row that ingest itself wrote. */
    version: number;
  }
>;

const CARRIED = namesIn('identity', 'origin', 'header', 'totals');
const CLOSING = namesIn('closing');

/** The row that an event stands for. */
export function rowOf(event: SessionEvent): SessionRow {
  const closed = event.type === 'SessionClosed' ? event : null;
  return {
    ...Object.fromEntries(CARRIED.map((name) => [name, event[name]])),
    ...Object.fromEntries(CLOSING.map((name) => [name, closed?.[name] ?? null])),
    status: closed?.status ?? 'active',
    updated_at: event.occurred_at,
    assumed: closed?.assumed ?? false,
    version: event.seq * 2 - (closed?.assumed === true ? 1 : 0),
  } as SessionRow;
}

/** The fields of a row that change when its session is lost. */
interface LostEnd {
  readonly status: 'failed';
  readonly close_reason: 'lost';
  readonly ended_at: string;
  readonly duration_ms: number;
  readonly version: number;
}

/**
 * The row of an open session whose proxy is gone. It ends at its latest event. Its odd version wins
 * over the row that it comes from, and loses to any later real event.
 */
export function lostRowOf<R extends Pick<SessionRow, 'seq' | 'started_at' | 'updated_at'>>(
  row: R,
): Omit<R, keyof LostEnd> & LostEnd {
  return {
    ...row,
    status: 'failed',
    close_reason: 'lost',
    ended_at: row.updated_at,
    duration_ms: Math.max(0, Date.parse(row.updated_at) - Date.parse(row.started_at)),
    version: row.seq * 2 + 1,
  };
}
