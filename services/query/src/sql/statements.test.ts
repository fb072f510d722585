import { join } from 'node:path';
import type { Dimension } from '@sockscope/schemas/sums';
import { DIMENSIONS } from '@sockscope/schemas/sums';
import { describe, expect, it } from 'vitest';
import { NO_MASK } from '../mask/mask.js';
import { NO_PIECES } from '../sums/plan.js';
import { activePageQuery, activeUsersQuery } from './active.js';
import { changesQuery } from './explain.js';
import { exportSessions, exportTop } from './exports.js';
import { sessionsByIdQuery, sessionsPageQuery } from './sessions.js';
import { sketchesQuery } from './sketches.js';
import { isAddress, seriesQuery } from './sums.js';
import type { SumsBy, SumsOf } from './sums.js';
import { flowsQuery, topQuery, topsQuery } from './top.js';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const NOON_MS = Date.parse('2026-03-15T12:00:00Z');
const everything = { sql: 'true', params: {} };

/** A range that uses every table: a week, days, hours, slices, and half an hour at the end. */
const pieces = {
  weeks: [
    { fromMs: NOON_MS - 12 * HOUR_MS - 13 * DAY_MS, toMs: NOON_MS - 12 * HOUR_MS - 6 * DAY_MS },
  ],
  days: [{ fromMs: NOON_MS - 12 * HOUR_MS - 6 * DAY_MS, toMs: NOON_MS - 12 * HOUR_MS }],
  hours: [{ fromMs: NOON_MS - 12 * HOUR_MS, toMs: NOON_MS }],
  slices: [{ fromMs: NOON_MS, toMs: NOON_MS + HOUR_MS / 2 }],
  exact: [{ fromMs: NOON_MS + HOUR_MS / 2, toMs: NOON_MS + HOUR_MS }],
};

const exactOnly = { ...NO_PIECES, exact: pieces.exact };

function sumsOf(by: SumsBy): SumsOf {
  return {
    by,
    keys: null,
    counted: pieces,
    moved: pieces,
    rollup:
      by === 'flow' || isAddress(by)
        ? { kind: 'pairs', filter: everything }
        : { kind: 'dimension', dimension: by, keys: null },
    sessions: { table: 'sessions', filter: everything, hasEnds: true },
    traffic: { filter: everything, of: 'rows' },
    shown: null,
    cuts: null,
  };
}

/** No sums answer. */
const ofStatus = (by: SumsBy): SumsOf => ({
  ...sumsOf(by),
  rollup: null,
  counted: exactOnly,
  moved: exactOnly,
  traffic: { filter: everything, of: 'totals' },
});

const style = { format: 'csv', mask: NO_MASK } as const;
const total = sumsOf('total');
const pairs = {
  ...sumsOf('flow'),
  counted: { ...pieces, weeks: [], slices: [] },
  moved: { ...pieces, weeks: [], slices: [] },
};
const page = {
  table: 'sessions',
  filter: everything,
  sort: 'started_at',
  order: 'desc',
  position: null,
  limit: 50,
  isShort: true,
  range: null,
} as const;

const tops = Object.fromEntries(
  DIMENSIONS.map((dimension: Dimension) => [
    `top_${dimension}`,
    topQuery(sumsOf(dimension), 'bytes', 10, null).sql,
  ]),
);

const STATEMENTS: Readonly<Record<string, string>> = {
  ...tops,
  top_user_of_status: topQuery(ofStatus('user'), 'bytes', 10, null).sql,
  changes: changesQuery(
    (['source', 'proxy'] as const).map((by) => {
      const of = { ...sumsOf(by), rollup: null, counted: exactOnly, moved: exactOnly };
      return { by, now: of, before: of };
    }),
    'bytes',
    5,
  ).sql,
  tops_of_status: topsQuery(
    (['user', 'destination'] as const).map((by) => ({ ...ofStatus(by), by })),
    'bytes',
    10,
  ).sql,
  flows: flowsQuery(pairs, 'bytes', 10).sql,
  sketches: sketchesQuery([{ ...pieces, fromMs: 0 }], total.sessions).sql,
  tops: topsQuery(
    (['total', 'user', 'destination'] as const).map((by) => ({ ...sumsOf(by), by })),
    'bytes',
    10,
  ).sql,
  series: seriesQuery({ ...total, cuts: [NOON_MS] }).sql,
  page: sessionsPageQuery(page).sql,
  page_by_bytes: sessionsPageQuery({
    ...page,
    sort: 'bytes',
    position: { value: 1, startedMs: NOON_MS, sessionId: '' },
  }).sql,
  session_by_id: sessionsByIdQuery([''], [NOON_MS]).sql,
  active_page: activePageQuery({
    filter: everything,
    position: null,
    limit: 50,
    sinceMs: NOON_MS,
  }).sql,
  active_users: activeUsersQuery({
    filter: everything,
    limit: 50,
    sinceMs: NOON_MS,
  }).sql,
  export_sessions: exportSessions({ ...page, limit: null, fields: null }, style).sql,
  export_top: exportTop(sumsOf('source'), { field: 'source_ip', sort: 'bytes', limit: null }, style)
    .sql,
};

/** So that a change of SQL can be read in a review. Run with `-u` after a wanted change. */
describe('the SQL of the main questions', () => {
  it.each(Object.entries(STATEMENTS))(
    '%s is the statement that is committed',
    async (name, sql) => {
      await expect(`${sql.trim()}\n`).toMatchFileSnapshot(
        join(import.meta.dirname, 'statements', `${name}.sql`),
      );
    },
  );
});
