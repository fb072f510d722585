/**
 * Finds sessions by the time at which they ended or were open.
 *
 * The tables of sessions are ordered by start, so a condition on `ended_at` alone reads every session that is
 * kept. These sources read little more than what they return. A session either began in the hour in question,
 * or it ended in another hour than it began in; then `ended_sessions` has its figures in the order of ends.
 * Where `session_ends` names such a session, its row in `sessions` decides (see the migration
 * `0025_ended_sessions.sql`). Open sessions are found by the index of `status`, without FINAL:
 * FINAL reads a whole day for an open session once a part of that day holds a few late rows. Those that have been
 * open for long have their rows in `long_sessions` too.
 */
import { floorTo, HOUR_MS } from '@sockscope/schemas/sums';
import type { ExactSpan, Span } from '../sums/plan.js';
import { timeSql } from './expressions.js';
import { allOf, anyOf } from './query.js';
import type { Condition, SqlParams } from './query.js';
import type { SessionsTable } from './sessions.js';
import { withinMs } from './spans.js';

const KEY_SQL = 'started_at, session_id';

export const OPEN_SQL = `status = 'active'`;

/** Open sessions that began before this time are in `long_sessions`. The store binds it: see store/long-sessions.ts. */
export const LONG_BEFORE_SQL = timeSql('long_before');

/** The rows of open sessions, each in one of the tables. */
const OPEN_IN = {
  sessions: `${OPEN_SQL} AND started_at >= ${LONG_BEFORE_SQL}`,
  long_sessions: `${OPEN_SQL} AND started_at < ${LONG_BEFORE_SQL}`,
} as const;
const OPEN_TABLES = ['sessions', 'long_sessions'] as const;

/** Holds for rows with a version that is open and passes: all others are skipped by the index, before FINAL. */
function isOpenIn(table: keyof typeof OPEN_IN, condition?: string): string {
  return `${OPEN_IN[table]} AND ${hasKeySql([openKeysIn(table, condition)])}`;
}

function openKeysIn(table: keyof typeof OPEN_IN, condition?: string): string {
  const passes = condition === undefined ? '' : ` AND ${condition}`;
  return `SELECT ${KEY_SQL} FROM ${table} WHERE ${OPEN_IN[table]}${passes}`;
}

/** The keys of sessions with a version that is open and passes. */
export function openKeysSql(condition: string): string {
  return OPEN_TABLES.map((table) => openKeysIn(table, condition)).join(' UNION ALL ');
}

/** Sessions that are open now and pass. */
export function openNow(filter: Condition): Source[] {
  return OPEN_TABLES.map((table) => ({
    table,
    where: allOf([{ sql: isOpenIn(table), params: {} }, filter]),
  }));
}

/** The key is one of those that the statements select. */
export function hasKeySql(statements: readonly string[]): string {
  return `(${KEY_SQL}) IN (${statements.join(' UNION ALL ')})`;
}

function keysOf(table: 'ended_sessions' | 'session_ends', condition: string): string {
  return `SELECT ${KEY_SQL} FROM ${table} WHERE ${condition}`;
}

/** A table to read with FINAL, and the rows that count. Several sources never have a session in common. */
export interface Source {
  readonly table: SessionsTable | 'ended_sessions' | 'long_sessions';
  readonly where: Condition;
}

/** Which sessions to find, beside the time. */
export interface Sought {
  readonly table: SessionsTable;
  readonly filter: Condition;
  /** Whether `ended_sessions` has all columns that are read. */
  readonly hasEnds: boolean;
}

/** Sessions that ended in one of the spans. @param began all of them, or those that began before that span. */
export function endedWithin(
  spans: readonly ExactSpan[],
  prefix: string,
  of: Sought,
  began: 'any' | 'before' = 'any',
): Source[] {
  const ended = (which: 'near' | 'far' | 'all') =>
    allOf([hasEnded(spans, prefix, { which, began }), of.filter]);
  return of.hasEnds
    ? [
        { table: of.table, where: ended('near') },
        { table: 'ended_sessions', where: ended('far') },
      ]
    : [{ table: of.table, where: ended('all') }];
}

interface Ended {
  /** `near`: began in the hour of the span or later (or since `nearMs`), or is doubtful; `far`: all others. */
  readonly which: 'near' | 'far' | 'all';
  readonly began: 'any' | 'before';
}

function hasEnded(
  spans: readonly ExactSpan[],
  prefix: string,
  { which, began: begun }: Ended,
): Condition {
  return allOf([
    ...(which === 'far' ? [] : [{ sql: `status != 'active'`, params: {} }]),
    anyOf(
      spans.map((span, i) => {
        const name = (part: string) => `${prefix}${i}_${part}`;
        const began = (compare: string, time = 'hour') =>
          `started_at ${compare} ${timeSql(name(time))}`;
        const doubtful = keysOf(
          'session_ends',
          `ended_at >= ${timeSql(name('hour'))} AND ended_at < ${timeSql(name('hours_end'))}
            AND ${began('<')}`,
        );
        const ended = withinMs('ended_at', [span], name('ended'));
        // A session that has ended had begun: the primary key can use that.
        const within = {
          sql: `${ended.sql} AND ${began('<', 'before')}`,
          params: {
            ...ended.params,
            [name('before')]: begun === 'before' ? span.fromMs : span.toMs,
          },
        };
        const isFar = {
          near: `(${began('>=')} OR ${hasKeySql([doubtful])})`,
          far: `(${began('<')} AND NOT ${hasKeySql([doubtful])})`,
          all: `(${began('>=')} OR ${hasKeySql([
            doubtful,
            keysOf('ended_sessions', `${within.sql} AND ${began('<')}`),
          ])})`,
        };
        return {
          sql: `(${within.sql} AND ${isFar[which]})`,
          params: {
            ...within.params,
            [name('hour')]: span.nearMs ?? floorTo(span.fromMs, HOUR_MS),
            [name('hours_end')]: floorTo(span.toMs, HOUR_MS) + HOUR_MS,
          },
        };
      }),
    ),
  ]);
}

/** Holds for a session that began and ended in the same span. Bound by `withinMs` with the same prefix. */
export function endedInSame(spans: readonly Span[], prefix: string): string {
  const within = spans.map(
    (_, i) =>
      `started_at >= ${timeSql(`${prefix}${i}_from`)} AND ended_at < ${timeSql(`${prefix}${i}_to`)}`,
  );
  return `(status != 'active' AND (${within.join(' OR ')}))`;
}

/** Sessions that were open at a time by their rows of now: begun at or before it, and not ended at or before it. */
export function openAt(atMs: number, prefix: string, of: Sought): Source[] {
  return openDuring({ fromMs: atMs, toMs: atMs }, prefix, of);
}

/** Sessions that were open at any time of the span: begun at its end or before, and not ended at its start or before. */
export function openDuring({ fromMs, toMs }: Span, prefix: string, of: Sought): Source[] {
  const from = timeSql(`${prefix}_from`);
  const hour = timeSql(`${prefix}_hour`);
  const params = {
    [`${prefix}_from`]: fromMs,
    [`${prefix}_to`]: toMs,
    [`${prefix}_hour`]: floorTo(fromMs, HOUR_MS),
  };
  const earlier = `started_at < ${hour}`;
  const doubtful = hasKeySql([keysOf('session_ends', `${earlier} AND ended_at >= ${hour}`)]);
  const stillOpen = isOpenIn('sessions', earlier);
  const wasOpen = {
    sql: `started_at <= ${timeSql(`${prefix}_to`)} AND (${OPEN_SQL} OR ended_at > ${from})`,
    params,
  };
  const near = {
    sql: `${wasOpen.sql} AND (started_at >= ${hour} OR ${doubtful} OR (${stillOpen}))`,
    params,
  };
  const far = { sql: `${earlier} AND ended_at > ${from} AND NOT ${doubtful}`, params };
  const long = {
    sql: `${isOpenIn('long_sessions', earlier)} AND ${earlier} AND NOT ${doubtful}`,
    params,
  };
  if (of.hasEnds) {
    return [
      { table: of.table, where: allOf([near, of.filter]) },
      { table: 'ended_sessions', where: allOf([far, of.filter]) },
      { table: 'long_sessions', where: allOf([long, of.filter]) },
    ];
  }
  return [
    {
      table: of.table,
      where: allOf([wasOpen, reaches(fromMs, `${prefix}_reaches`), of.filter]),
    },
  ];
}

/** Which sessions to look up by their keys, beside the time. */
export interface LookedUp {
  readonly table: SessionsTable;
  readonly filter: Condition;
  /** Holds for every row of `ended_sessions` whose session passes, if not for others too. */
  readonly ended: Condition;
  /** A filter by a projection of `sessions` in the order of starts; null if there is none. */
  readonly address: Condition | null;
  /** All of them have one of these egress ports; null if that is not known. See `FAR_PORT_SQL`. */
  readonly ports: readonly number[] | null;
}

/** The port that stands for one that was not recorded. */
const PORT_UNRECORDED = 0;
const KNOWN_PORT_SQL = 'ifNull(egress_port, 0)';

/** Above 0 for a connected session without a recorded egress address: the index `egress_unrecorded`. */
export const EGRESS_UNRECORDED_SQL = `if(${KNOWN_PORT_SQL} = 0, if(status = 'active', 1, if(status = 'closed', 1, ifNull(connect_ms + 1, 0))), 0)`;

/**
 * The egress port of a session that ended in another hour than it began in: the index `far_ports`. 0 if it was not
 * recorded, or if a former version stored the row without it.
 */
export const FAR_PORT_SQL = `if(ifNull(toStartOfHour(ended_at) = toStartOfHour(started_at), 0), 65536, if(${EGRESS_UNRECORDED_SQL} > 0, 0, ifNull(egress_port, 65536)))`;

/** Sessions by their keys, which never change: only of these are other columns read, and FINAL decides about each. */
export interface Keyed {
  readonly keys: Condition;
  readonly where: Condition;
}

/** `newest`: begun since `sinceMs`; `earlier`: begun before that; the full hour at the start of the span is the default. */
interface Part {
  readonly part?: 'all' | 'newest' | 'earlier';
  readonly sinceMs?: number;
  /** The time before which all open sessions are in `long_sessions`, if the caller knows it. */
  readonly longBeforeMs?: number;
}

const WAS_OPEN_SQL = `started_at <= ${timeSql('open_to')} AND (${OPEN_SQL} OR ended_at >= ${timeSql('open_from')})`;

/** A table with keys, and the rows that count. */
interface KeySource {
  readonly table: string;
  readonly where: string;
  /** One condition for each set that is sought: it holds for a row whose session may be in the set. */
  readonly fits: readonly string[];
}

/**
 * Sources of the keys of sessions that were open at any time of the span, both ends included: a time that is quoted
 * is not exact. All versions of a row are looked through.
 *
 * @param sought sets of sessions; all of them are of one table.
 */
function keySources(
  { fromMs, toMs }: Span,
  sought: readonly LookedUp[],
  { part = 'all', sinceMs = floorTo(fromMs, HOUR_MS), longBeforeMs }: Part,
): { readonly sources: readonly KeySource[]; readonly params: SqlParams } {
  const began = (compare: string) => `started_at ${compare} ${timeSql('open_since')}`;
  const within = `${began('>=')} AND started_at <= ${timeSql('open_to')}`;
  const newest = sought.map(({ table, address, filter }, i) => {
    const hasAddress =
      address === null
        ? ''
        : `AND started_at IN (SELECT started_at FROM sessions WHERE ${within} AND ${address.sql})`;
    const where = `${within} ${hasAddress} AND ${WAS_OPEN_SQL} AND ${filter.sql}`;
    return { table, where, fits: sought.map((_, each) => (each === i ? '1' : '0')) };
  });
  const ports = sought.every((each) => each.ports !== null)
    ? [PORT_UNRECORDED, ...sought.flatMap((each) => each.ports ?? [])]
    : null;
  const ended = sought.map((each) => each.ended);
  const open = sought.map(({ filter }) => filter);
  /** Few sessions have a port; to look at their other columns, too, costs more than their keys. */
  const fit = (port: string, conditions: readonly Condition[]) =>
    ports === null
      ? anyOf(conditions.map((each) => ({ ...each, sql: `(${each.sql})` }))).sql
      : `${port} IN {far_ports:Array(UInt32)}`;
  const flags = (conditions: readonly Condition[]) =>
    conditions.map(({ sql }) => `ifNull(${sql}, 0)`);
  const endedSince = `${began('<')} AND ended_at >= ${timeSql('open_from')}`;
  const earlier = [
    {
      table: 'ended_sessions',
      where: `${endedSince} AND (${fit(FAR_PORT_SQL, ended)})`,
      fits: flags(ended),
    },
    { table: 'session_ends', where: endedSince, fits: sought.map(() => '1') },
    ...OPEN_TABLES.filter(
      // It would find none, but to plan it takes a tenth of the time.
      (table) => table !== 'sessions' || longBeforeMs === undefined || sinceMs > longBeforeMs,
    ).map((table) => ({
      table,
      where: `${OPEN_IN[table]} AND ${began('<')} AND (${fit(KNOWN_PORT_SQL, open)})`,
      fits: flags(open),
    })),
  ];
  return {
    sources: [...(part === 'earlier' ? [] : newest), ...(part === 'newest' ? [] : earlier)],
    params: {
      ...allOf([...ended, ...open, ...sought.flatMap(({ address }) => address ?? [])]).params,
      ...(ports === null ? {} : { far_ports: ports }),
      open_from: fromMs,
      open_to: toMs,
      open_since: sinceMs,
      ...(longBeforeMs === undefined ? {} : { long_before: longBeforeMs }),
    },
  };
}

/**
 * Selects keys of sessions that may have been open in the span, and for each set that is sought, under its name, 1 if
 * the session may be in it. A key may come twice.
 */
export function keysWithin(
  span: Span,
  sought: Readonly<Record<string, LookedUp>>,
  part: Part,
): Condition {
  const { sources, params } = keySources(span, Object.values(sought), part);
  const names = Object.keys(sought);
  const statements = sources.map(({ table, where, fits }) => {
    const flags = names.map((name, i) => `toUInt8(${fits[i] ?? '1'}) AS ${name}`);
    return `SELECT ${KEY_SQL}, ${flags.join(', ')} FROM ${table} WHERE ${where}`;
  });
  return { sql: statements.join(' UNION ALL '), params };
}

/** Sessions that were open at any time of the span, both ends included. */
export function openWithin(span: Span, of: LookedUp, part: Part = {}): Keyed {
  const { sources, params } = keySources(span, [of], part);
  const keys = sources.map(({ table, where }) => `SELECT ${KEY_SQL} FROM ${table} WHERE ${where}`);
  return keyedWithin(span, of, { sql: hasKeySql(keys), params });
}

/** Sessions with these keys that were open at any time of the span, both ends included. */
export function keyedWithin({ fromMs, toMs }: Span, of: LookedUp, keys: Condition): Keyed {
  const wasOpen = { sql: WAS_OPEN_SQL, params: { open_from: fromMs, open_to: toMs } };
  return { keys, where: allOf([wasOpen, of.filter]) };
}

/**
 * Holds for every session that was open at a time or later. It follows from a condition on the end that a
 * question has; with it, the primary key excludes most others.
 */
export function reaches(fromMs: number, prefix: string): Condition {
  const hour = timeSql(`${prefix}_hour`);
  const earlier = `started_at < ${hour}`;
  const ended = `${earlier} AND ended_at >= ${timeSql(`${prefix}_from`)}`;
  return {
    sql: `started_at >= ${hour} OR ${hasKeySql([
      openKeysSql(earlier),
      keysOf('ended_sessions', ended),
      keysOf('session_ends', ended),
    ])}`,
    params: { [`${prefix}_hour`]: floorTo(fromMs, HOUR_MS), [`${prefix}_from`]: fromMs },
  };
}
