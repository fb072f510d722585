import { toTimestamp } from '@sockscope/schemas';
import type { Traffic, TrafficQuery, TrafficSeries, TrafficSplit } from '@sockscope/schemas/api';
import { API_LIMITS } from '@sockscope/schemas/api';
import { invalidParameters } from '../../problems/problem.js';
import { activeByKeyQuery } from '../../sql/active.js';
import { countsAtEnd } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import type { SeriesRow } from '../../sql/sums.js';
import type { Asking } from '../../store/store.js';
import { automaticInterval, cutRange } from '../../time/intervals.js';
import type { Interval } from '../../time/intervals.js';
import { filterOf } from '../../filters/filters.js';
import type { Filters } from '../../filters/filters.js';
import { answerMetaOf, rangeOf } from '../../time/range.js';
import type { Span } from '../../sums/plan.js';
import { END_OF_TIME_MS, netOf, seriesSums, together } from '../../sums/sums.js';
import type { Provenance, SumsDeps } from '../../sums/sums.js';
import { topRows } from '../top/top.js';

const SPLIT_DIMENSIONS: Readonly<Record<TrafficSplit, Dimension>> = {
  user: 'user',
  dest_host: 'destination',
  protocol: 'protocol',
  status: 'status',
  proxy_id: 'proxy',
};

/** A time series without gaps. */
export async function traffic(
  deps: SumsDeps,
  query: TrafficQuery,
  filters: Filters,
  asking: Asking,
  nowMs: number,
): Promise<Traffic> {
  const range = rangeOf(query, nowMs);
  const interval =
    query.interval === 'auto'
      ? automaticInterval(range.fromMs, range.toMs, query.time_zone, query.points)
      : query.interval;
  const cuts = cutsOf(range, interval, query.time_zone);
  const split = query.split ?? null;
  const question = { range, filters, cuts };
  if (split === null) {
    const { series, provenance } = await lines(deps, { ...question, dimension: 'total' }, asking);
    return {
      ...answerMetaOf(range, query, provenance, nowMs),
      interval,
      split,
      buckets: cuts.map(toTimestamp),
      series,
    };
  }
  const dimension = SPLIT_DIMENSIONS[split];
  const [total, top] = await Promise.all([
    lines(deps, { ...question, dimension: countsAtEnd(dimension) ? dimension : 'total' }, asking),
    topRows(deps, { dimension, by: query.by, limit: query.series, range, filters }, asking),
  ]);
  const keys = top.rows.items.map((item) => item.key);
  const own =
    keys.length === 0 ? null : await lines(deps, { ...question, dimension, keys }, asking);
  const ranked = keys.flatMap((key) => own?.series.filter((line) => line.key === key) ?? []);
  const rest = restOf(total.series, ranked, cuts.length);
  return {
    ...answerMetaOf(
      range,
      query,
      together(total.provenance, top.provenance, ...(own === null ? [] : [own.provenance])),
      nowMs,
    ),
    interval,
    split,
    buckets: cuts.map(toTimestamp),
    series: rest === null ? ranked : [...ranked, rest],
  };
}

/** @throws ProblemError where the interval is too fine for the range. */
export function cutsOf(range: Span, interval: Interval, zone: string): number[] {
  const cuts = cutRange(range.fromMs, range.toMs, interval, zone, API_LIMITS.buckets_max);
  if (cuts.length > 0) return cuts;
  throw invalidParameters([
    {
      parameter: 'interval',
      message: `gives more than ${API_LIMITS.buckets_max} points over this range`,
    },
  ]);
}

/** The lines of the keys that were counted, each with a value for every piece. */
export async function lines(
  deps: SumsDeps,
  question: {
    readonly dimension: Dimension;
    readonly range: Span;
    readonly filters: Filters;
    readonly cuts: readonly number[];
    readonly keys?: readonly string[];
  },
  asking: Asking,
): Promise<{ series: TrafficSeries[]; provenance: Provenance }> {
  const { dimension, range, filters, cuts } = question;
  const keys = question.keys ?? null;
  // Where sessions count at their end, nothing tells how many were open.
  const hasActive = !countsAtEnd(dimension);
  const tail = { fromMs: range.toMs, toMs: END_OF_TIME_MS };
  const [counted, after, open] = await Promise.all([
    seriesSums(deps, { ...question, keys }, asking),
    hasActive && tail.fromMs < tail.toMs
      ? seriesSums(deps, { dimension, filters, keys, range: tail }, asking)
      : null,
    hasActive
      ? deps.coverage
          .openFrom()
          .then((fromMs) =>
            deps.store.ask(
              activeByKeyQuery({ fromMs, dimension, keys, filter: filterOf(filters) }),
              asking,
            ),
          )
      : null,
  ]);
  const byKey = new Map<string, SeriesRow[]>();
  for (const row of counted.rows) {
    const known = byKey.get(row.key);
    if (known === undefined) byKey.set(row.key, [row]);
    else known.push(row);
  }
  // Keys without anything get a line too where they are asked for: gaps are filled.
  const asked = dimension === 'total' ? [''] : (keys ?? []);
  const names = new Set([...asked, ...byKey.keys(), ...(open ?? []).map((row) => row.key)]);
  const slots = new Map(cuts.map((cut, i) => [cut, i]));
  return {
    provenance: counted.provenance,
    series: [...names].map((key) => {
      const line = lineOf(byKey.get(key) ?? [], slots, dimension === 'total' ? null : key);
      if (open === null) return line;
      const tailRow = after?.rows.find((row) => row.key === key);
      const openNow = open.find((row) => row.key === key)?.active ?? 0;
      const openAtEnd = openNow - (tailRow === undefined ? 0 : netOf(tailRow));
      return { ...line, active: activeOf(line, openAtEnd) };
    }),
  };
}

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0);
}

function emptyLine(length: number, key: string | null): TrafficSeries {
  return {
    key,
    other: false,
    bytes_sent: zeros(length),
    bytes_received: zeros(length),
    packets_sent: zeros(length),
    packets_received: zeros(length),
    started: zeros(length),
    closed: zeros(length),
    failed: zeros(length),
    rejected: zeros(length),
    active: null,
  };
}

const COLUMNS = [
  ['bytes_sent', 'bytes_sent'],
  ['bytes_received', 'bytes_received'],
  ['packets_sent', 'packets_sent'],
  ['packets_received', 'packets_received'],
  ['started', 'sessions_started'],
  ['closed', 'sessions_closed'],
  ['failed', 'sessions_failed'],
  ['rejected', 'sessions_rejected'],
] as const;

function lineOf(
  rows: readonly SeriesRow[],
  slots: ReadonlyMap<number, number>,
  key: string | null,
): TrafficSeries {
  const line = emptyLine(slots.size, key);
  for (const row of rows) {
    const slot = slots.get(row.slot);
    if (slot === undefined) continue;
    for (const [to, from] of COLUMNS) line[to][slot] = row[from];
  }
  return line;
}

/**
 * Sessions open at the end of each piece, counted backwards from those open at the end of the
 * last: whoever began in a piece was not open before it, and whoever ended in it was.
 */
function activeOf(line: TrafficSeries, openAtEnd: number): number[] {
  const active = zeros(line.started.length);
  let open = openAtEnd;
  for (let i = active.length - 1; i >= 0; i -= 1) {
    // Rows that arrive between two queries may make the two disagree for a moment.
    active[i] = Math.max(0, open);
    const ended = (line.closed[i] ?? 0) + (line.failed[i] ?? 0) + (line.rejected[i] ?? 0);
    open -= (line.started[i] ?? 0) - ended;
  }
  return active;
}

/** What of all lines together is not in the ranked ones; null where nothing is. */
function restOf(
  all: readonly TrafficSeries[],
  ranked: readonly TrafficSeries[],
  length: number,
): TrafficSeries | null {
  const rest: TrafficSeries = { ...emptyLine(length, null), other: true };
  const hasActive = all.some((line) => line.active !== null);
  const active = zeros(length);
  for (const [lineSet, sign] of [
    [all, 1],
    [ranked, -1],
  ] as const) {
    for (const line of lineSet) {
      for (let i = 0; i < length; i += 1) {
        for (const [name] of COLUMNS) {
          rest[name][i] = Math.max(0, (rest[name][i] ?? 0) + sign * (line[name][i] ?? 0));
        }
        active[i] = Math.max(0, (active[i] ?? 0) + sign * (line.active?.[i] ?? 0));
      }
    }
  }
  if (hasActive) rest.active = active;
  const isNothing =
    COLUMNS.every(([name]) => rest[name].every((value) => value === 0)) &&
    active.every((value) => value === 0);
  return isNothing ? null : rest;
}
