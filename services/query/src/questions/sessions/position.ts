import { sessionId, sessionStartMs } from '@sockscope/schemas';
import { z } from 'zod';
import type { SessionRecord } from '../../sql/fields.js';
import type { PagePosition, SessionSort } from '../../sql/sessions.js';
import type { OpenSpan } from '../../time/range.js';
import { cursorTime, decodeCursor, encodeCursor } from '../cursor.js';

const bound = cursorTime.nullable();
const payload = z
  .tuple([z.int().nullable(), cursorTime, sessionId, bound, bound])
  .refine(([, , , fromMs, toMs]) => fromMs === null || toMs === null || fromMs < toMs);

/** The end of a page, and the range of the first page: `now` moves on meanwhile. */
export interface PageCursor {
  readonly position: PagePosition;
  readonly range: OpenSpan;
}

export function readCursor(binding: string, text: string): PageCursor {
  const [value, startedMs, id, fromMs, toMs] = decodeCursor(binding, text, payload);
  return { position: { value, startedMs, sessionId: id }, range: { fromMs, toMs } };
}

export function writeCursor(binding: string, { position, range }: PageCursor): string {
  const { value, startedMs, sessionId: id } = position;
  return encodeCursor(binding, [value, startedMs, id, range.fromMs, range.toMs]);
}

export function positionOf(
  row: Pick<
    SessionRecord,
    | 'session_id'
    | 'started_at'
    | 'ended_at'
    | 'updated_at'
    | 'duration_ms'
    | 'bytes_sent'
    | 'bytes_received'
  >,
  sort: SessionSort,
): PagePosition {
  return {
    value: sortValueOf(row, sort),
    startedMs: sessionStartMs(row.session_id),
    sessionId: row.session_id,
  };
}

/** The sort key in ClickHouse: see sortKeys. */
function sortValueOf(row: Parameters<typeof positionOf>[0], sort: SessionSort): number | null {
  switch (sort) {
    case 'started_at':
      return null;
    case 'ended_at':
      return Date.parse(row.ended_at ?? row.updated_at);
    case 'duration_ms':
      return row.duration_ms ?? Date.parse(row.updated_at) - Date.parse(row.started_at);
    case 'bytes':
      return row.bytes_sent + row.bytes_received;
  }
}
