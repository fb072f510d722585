/** When a figure counts: in the bucket of the session's start, of its end, or of the minute the bytes moved in. */
export type CountsAt = 'start' | 'end' | 'traffic';

/**
 * The summed figures, and the moment at which each counts. So every range is the sum of its parts. Dimensions that may change
 * until a session ends are the exception: see `countsAtEnd`.
 */
export const FIGURES = {
  sessions_started: 'start',
  sessions_closed: 'end',
  sessions_failed: 'end',
  sessions_rejected: 'end',
  bytes_sent: 'traffic',
  bytes_received: 'traffic',
  packets_sent: 'traffic',
  packets_received: 'traffic',
  duration_ms: 'end',
} as const satisfies Readonly<Record<string, CountsAt>>;

export type SumName = keyof typeof FIGURES;
export const SUM_NAMES = Object.keys(FIGURES) as SumName[];

/** The figures that count at a time. */
function countedAt(when: CountsAt): SumName[] {
  return SUM_NAMES.filter((name) => FIGURES[name] === when);
}

const AT_START = countedAt('start');
const AT_END = countedAt('end');
const AS_TRAFFIC = countedAt('traffic');

/** Each figure as an aggregate over the rows of `sessions` or of `session_traffic_1m`. */
const FIGURE_SQL: Readonly<Record<SumName, string>> = {
  sessions_started: 'count()',
  sessions_closed: `countIf(status = 'closed')`,
  sessions_failed: `countIf(status = 'failed')`,
  sessions_rejected: `countIf(status = 'rejected_by_acl')`,
  bytes_sent: 'sum(bytes_sent)',
  bytes_received: 'sum(bytes_received)',
  packets_sent: 'sum(packets_sent)',
  packets_received: 'sum(packets_received)',
  duration_ms: 'sum(ifNull(duration_ms, 0))',
};

function sqlOf(names: readonly SumName[]): Partial<Record<SumName, string>> {
  return Object.fromEntries(names.map((name) => [name, FIGURE_SQL[name]]));
}

/** The figures of sessions that started, over `sessions`. */
export const STARTED_SQL = sqlOf(AT_START);
/** The figures of sessions that ended, over `sessions`. */
export const ENDED_SQL = sqlOf(AT_END);
/** The figures of traffic, over `session_traffic_1m`; or over the whole sessions that ended. */
export const MOVED_SQL = sqlOf(AS_TRAFFIC);
