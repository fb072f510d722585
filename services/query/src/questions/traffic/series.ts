import { API_LIMITS, SERIES_FIGURES } from '@sockscope/schemas/api';
import type { TrafficSeries } from '@sockscope/schemas/api';
import { invalidParameters } from '../../problems/problem.js';
import { asStored, plainOf } from '../../sql/stored.js';
import type { Stored } from '../../sql/stored.js';
import { isAtEnd } from '../../sql/sums.js';
import type { SeriesRow } from '../../sql/sums.js';
import type { Asking } from '../../store/store.js';
import { cutRange } from '../../time/intervals.js';
import type { Interval } from '../../time/intervals.js';
import type { Span } from '../../sums/plan.js';
import { openAtByKey, seriesSums } from '../../sums/sums.js';
import type { Provenance, SumsDeps, SumsQuestion } from '../../sums/sums.js';

/** One line with its key as it is stored; null without split and for all others. */
export type Line = Omit<TrafficSeries, 'key'> & { readonly key: Stored | null };

type Points = Record<(typeof SERIES_FIGURES)[number], number[]>;

/** @throws ProblemError if the interval is too fine for the range. */
export function cutsOf(range: Span, interval: Interval, zone: string): number[] {
  const cuts = cutRange(range, interval, zone, API_LIMITS.buckets_max);
  if (cuts.length > 0) return cuts;
  throw invalidParameters([
    {
      parameter: 'interval',
      message: `gives more than ${API_LIMITS.buckets_max} points over this range`,
    },
  ]);
}

/** The lines of the keys that were counted, each with a value for every piece. */
export async function linesOf(
  deps: SumsDeps,
  question: SumsQuestion & { readonly cuts: readonly number[] },
  asking: Asking,
): Promise<{ lines: Line[]; provenance: Provenance }> {
  const { by, range, filters, cuts, keys = null, shown = null } = question;
  // If sessions count at their end, the number of open ones is unknown.
  const hasOpen = !isAtEnd(by);
  const [counted, open] = await Promise.all([
    seriesSums(deps, question, asking),
    hasOpen
      ? openAtByKey(deps, { by, filters, keys, shown, atMs: range.toMs, nowMs: Infinity }, asking)
      : null,
  ]);
  const byKey = new Map<string, SeriesRow[]>();
  for (const row of counted.rows) {
    const known = byKey.get(plainOf(row.key));
    if (known === undefined) byKey.set(plainOf(row.key), [row]);
    else known.push(row);
  }
  // Requested keys without traffic get a line too: gaps are filled.
  const requested = by === 'total' ? [''] : (keys ?? []);
  const names = new Set([...requested, ...byKey.keys(), ...(open?.keys() ?? [])]);
  const slots = new Map(cuts.map((cut, i) => [cut, i]));
  return {
    provenance: counted.provenance,
    lines: [...names].map((name): Line => {
      const points = pointsOf(byKey.get(name) ?? [], slots);
      const key = by === 'total' ? null : asStored(name);
      if (open === null)
        return { key, other: false, ...points, sessions_started: null, sessions_open: null };
      const openAtEnd = open.get(name) ?? 0;
      return { key, other: false, ...points, sessions_open: openOf(points, openAtEnd) };
    }),
  };
}

const zeros = (length: number): number[] => Array.from({ length }, () => 0);

function emptyPoints(length: number): Points {
  return Object.fromEntries(SERIES_FIGURES.map((name) => [name, zeros(length)])) as Points;
}

function pointsOf(rows: readonly SeriesRow[], slots: ReadonlyMap<number, number>): Points {
  const points = emptyPoints(slots.size);
  for (const row of rows) {
    const slot = slots.get(row.slot);
    if (slot === undefined) continue;
    for (const name of SERIES_FIGURES) points[name][slot] = row[name];
  }
  return points;
}

/**
 * Sessions open at the end of each piece, counted backwards from the last one: a session that began
 * in a piece was not open before it, and one that ended in it was.
 */
function openOf(points: Points, openAtEnd: number): number[] {
  const open = zeros(points.sessions_started.length);
  let left = openAtEnd;
  for (let i = open.length - 1; i >= 0; i -= 1) {
    // Rows that arrive between two queries may make the two disagree for a moment.
    open[i] = Math.max(0, left);
    const ended =
      (points.sessions_closed[i] ?? 0) +
      (points.sessions_failed[i] ?? 0) +
      (points.sessions_rejected[i] ?? 0);
    left -= (points.sessions_started[i] ?? 0) - ended;
  }
  return open;
}

/** The sum of all lines that are not ranked; null if there is none. */
export function restOfLines(
  all: readonly Line[],
  ranked: readonly Line[],
  length: number,
): Line | null {
  const rest = emptyPoints(length);
  const open = zeros(length);
  for (const [lines, sign] of [
    [all, 1],
    [ranked, -1],
  ] as const) {
    for (const line of lines) {
      for (let i = 0; i < length; i += 1) {
        for (const name of SERIES_FIGURES) {
          rest[name][i] = Math.max(0, (rest[name][i] ?? 0) + sign * (line[name]?.[i] ?? 0));
        }
        open[i] = Math.max(0, (open[i] ?? 0) + sign * (line.sessions_open?.[i] ?? 0));
      }
    }
  }
  const isNothing = [...SERIES_FIGURES.map((name) => rest[name]), open].every((values) =>
    values.every((value) => value === 0),
  );
  if (isNothing) return null;
  const hasOpen = all.some((line) => line.sessions_open !== null);
  return {
    key: null,
    other: true,
    ...rest,
    sessions_started: hasOpen ? rest.sessions_started : null,
    sessions_open: hasOpen ? open : null,
  };
}
