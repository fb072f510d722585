/**
 * The range of time that a page shows, in the API's own words: `from` and `to`, which may be relative
 * (`now-24h`), or `period` for a whole month or day. The URL of the page carries the same parameters.
 */
export type Range =
  | { readonly kind: 'last'; readonly amount: number; readonly unit: Unit }
  | { readonly kind: 'between'; readonly from: string; readonly to: string }
  | { readonly kind: 'period'; readonly period: string };

export type Unit = 'm' | 'h' | 'd';

const UNIT_MS: Readonly<Record<Unit, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The ranges of the range picker. */
export const LAST = ['15m', '1h', '6h', '24h', '7d', '30d', '90d'] as const;

export const DEFAULT_RANGE: Range = { kind: 'last', amount: 24, unit: 'h' };

const RELATIVE = /^now-(\d{1,4})([mhd])$/;
const PERIOD = /^\d{4}-\d{2}(?:-\d{2})?$/;
const TEXT_MAX = 40;

/** `24h` or `7d` as a range; null if it is not one. */
export function lastOf(text: string): Range | null {
  const match = /^(\d{1,4})([mhd])$/.exec(text);
  if (match === null || Number(match[1]) === 0) return null;
  return { kind: 'last', amount: Number(match[1]), unit: match[2] as Unit };
}

/** The range that a URL asks for; the default if it asks for none or for nonsense. */
export function rangeOf(params: URLSearchParams): Range {
  const period = params.get('period');
  if (period !== null && PERIOD.test(period)) return { kind: 'period', period };
  const from = params.get('from');
  const to = params.get('to') ?? 'now';
  if (from === null || from.length > TEXT_MAX || to.length > TEXT_MAX) return DEFAULT_RANGE;
  const relative = RELATIVE.exec(from);
  if (relative !== null && to === 'now')
    return lastOf(`${relative[1]}${relative[2]}`) ?? DEFAULT_RANGE;
  return { kind: 'between', from, to };
}

/** The parameters of a range, for the API and for the page's URL. */
export function rangeParams(range: Range): Record<string, string> {
  switch (range.kind) {
    case 'last':
      return { from: `now-${range.amount}${range.unit}`, to: 'now' };
    case 'between':
      return { from: range.from, to: range.to };
    case 'period':
      return { period: range.period };
  }
}

/** The month or day before or after a period. */
export function shiftPeriod(period: string, by: 1 | -1): string {
  const [year = 1970, month = 1, day] = period.split('-').map(Number);
  if (day === undefined)
    return new Date(Date.UTC(year, month - 1 + by, 1)).toISOString().slice(0, 7);
  return new Date(Date.UTC(year, month - 1, day + by)).toISOString().slice(0, 10);
}

/** The range of equal length before or after. `nowMs` stands for `now`. */
export function shift(range: Range, by: 1 | -1, nowMs: number): Range {
  switch (range.kind) {
    case 'period':
      return { kind: 'period', period: shiftPeriod(range.period, by) };
    case 'last':
      return moved(nowMs - range.amount * UNIT_MS[range.unit], nowMs, by);
    case 'between': {
      const fromMs = momentOf(range.from, nowMs);
      const toMs = momentOf(range.to, nowMs);
      return fromMs === null || toMs === null ? range : moved(fromMs, toMs, by);
    }
  }
}

function moved(fromMs: number, toMs: number, by: 1 | -1): Range {
  const length = (toMs - fromMs) * by;
  return between(fromMs + length, toMs + length);
}

/** A range between two moments. */
export function between(fromMs: number, toMs: number): Range {
  return {
    kind: 'between',
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
  };
}

/** Milliseconds of `now`, `now-…` or an RFC 3339 time; null of anything else. */
export function momentOf(text: string, nowMs: number): number | null {
  if (text === 'now') return nowMs;
  const relative = RELATIVE.exec(text);
  if (relative !== null) return nowMs - Number(relative[1]) * UNIT_MS[relative[2] as Unit];
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}
