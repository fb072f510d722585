/** Pure arithmetic of time series, apart from their drawing. */

export interface Series {
  readonly label: string;
  /** The legend's text instead of the label; empty: none, because another series shows it. */
  readonly legend?: string;
  /** A value per bucket; null: not known. */
  readonly values: readonly (number | null)[];
  /** A CSS variable without its dashes, such as `sent`. */
  readonly colour: string;
  /** Drawn below zero. */
  readonly isMirrored?: boolean;
  /** True for the period before, shown for comparison: drawn as dashes, and not stacked. */
  readonly isBefore?: boolean;
}

/** A drawn line: a series may be drawn in two parts. */
export interface Line extends Series {
  readonly isDashed: boolean;
}

/**
 * The lines of series whose last bucket is not over: the way to it is dashed, so that a day that has just
 * begun does not look like a fall.
 */
export function linesOf(series: readonly Series[], isUnfinished: boolean): Line[] {
  return series.flatMap((each): Line[] => {
    const { values } = each;
    const whole = { ...each, isDashed: each.isBefore === true };
    if (!isUnfinished || each.isBefore === true || values.length < 2) return [whole];
    const last = values.length - 1;
    return [
      { ...whole, values: values.map((value, at) => (at === last ? null : value)) },
      {
        ...each,
        isDashed: true,
        values: values.map((value, at) => (at >= last - 1 ? value : null)),
      },
    ];
  });
}

/** Cumulative values, so that each series stands on those before it. Mirrored ones have a stack of their own. */
export function stacked(series: readonly Series[]): Series[] {
  const up: number[] = [];
  const down: number[] = [];
  return series.map((each) => {
    if (each.isBefore === true) return each;
    const ground = each.isMirrored === true ? down : up;
    const values = each.values.map((value, at) => {
      const sum = (ground[at] ?? 0) + (value ?? 0);
      ground[at] = sum;
      return sum;
    });
    return { ...each, values };
  });
}

export interface Summary {
  readonly min: number;
  readonly mean: number;
  readonly max: number;
  readonly p95: number;
}

/** Minimum, mean, maximum and 95th percentile of the values that are known; null without any. */
export function summaryOf(values: readonly (number | null)[]): Summary | null {
  const known = values.filter((value) => value !== null).toSorted((a, b) => a - b);
  const min = known[0];
  const max = known.at(-1);
  if (min === undefined || max === undefined) return null;
  const p95 = known[Math.ceil(known.length * 0.95) - 1] ?? max;
  return { min, max, p95, mean: known.reduce((a, b) => a + b, 0) / known.length };
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Round steps of an axis of times. */
const STEPS_MS: readonly number[] = [
  ...[1, 5, 15, 30].map((n) => n * SECOND),
  ...[1, 5, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 3, 7, 14].map((n) => n * DAY),
];

/** The round step that makes about `wanted` ticks between two moments. */
export function timeStep(fromMs: number, toMs: number, wanted: number): number {
  const ideal = (toMs - fromMs) / wanted;
  return STEPS_MS.find((step) => step >= ideal) ?? 14 * DAY;
}

/**
 * Ticks of an axis of times that fall on the zone's wall clock, also on days of 23 or 25 hours.
 * `offset` gives the minutes by which the zone is ahead of UTC at a moment.
 */
export function timeTicks(
  fromMs: number,
  toMs: number,
  step: number,
  offset: (ms: number) => number,
): number[] {
  const ticks: number[] = [];
  const firstWall = Math.ceil((fromMs + offset(fromMs) * MINUTE) / step) * step;
  for (let wall = firstWall; ; wall += step) {
    const guess = wall - offset(wall) * MINUTE;
    const at = wall - offset(guess) * MINUTE;
    if (at > toMs) return ticks;
    if (at >= fromMs && at !== ticks.at(-1)) ticks.push(at);
  }
}
