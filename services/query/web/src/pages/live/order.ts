/** Rows that keep their order while the reader points at them. */
import type { SessionRow } from '../../widgets/session-table.js';

export interface Shown {
  readonly rows: readonly SessionRow[];
  /** The rows that the newest window no longer has. */
  readonly gone: ReadonlySet<string>;
  /** Rows of the newest window that wait until the hold ends. */
  readonly waiting: number;
}

/** The newest values of the rows that were shown before, in their places. */
export function held(before: readonly SessionRow[], newest: readonly SessionRow[]): Shown {
  const byId = new Map(newest.map((row) => [row.session_id, row]));
  const rows = before.map((row) => byId.get(row.session_id) ?? row);
  const known = new Set(before.map((row) => row.session_id));
  return {
    rows,
    gone: new Set(
      before.map((row) => row.session_id).filter((session_id) => !byId.has(session_id)),
    ),
    waiting: newest.filter((row) => !known.has(row.session_id)).length,
  };
}

export const GROUPS = ['none', 'user', 'dest_host', 'source_ip'] as const;
export type GroupBy = Exclude<(typeof GROUPS)[number], 'none'>;

export interface Group {
  readonly key: string;
  readonly sessions: number;
  readonly sentRate: number;
  readonly receivedRate: number;
}

/** The rows by one of their fields, the busiest first. */
export function grouped(rows: readonly SessionRow[], by: GroupBy): Group[] {
  const groups = new Map<string, Group>();
  for (const row of rows) {
    const key = row[by] ?? '';
    const group = groups.get(key) ?? { key, sessions: 0, sentRate: 0, receivedRate: 0 };
    groups.set(key, {
      key,
      sessions: group.sessions + 1,
      sentRate: group.sentRate + (row.bytes_sent_per_second ?? 0),
      receivedRate: group.receivedRate + (row.bytes_received_per_second ?? 0),
    });
  }
  const rate = (group: Group) => group.sentRate + group.receivedRate;
  return [...groups.values()].toSorted(
    (a, b) => rate(b) - rate(a) || b.sessions - a.sessions || (a.key < b.key ? -1 : 1),
  );
}
