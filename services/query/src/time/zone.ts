import { DAY_MS } from '@sockscope/schemas/sums';

/** Building one takes longer than using it a thousand times. There are about 600 zones. */
const formats = new Map<string, Intl.DateTimeFormat>();
const FORMATS_MAX = 1_000;

function formatOf(zone: string): Intl.DateTimeFormat {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      era: 'short',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    if (formats.size >= FORMATS_MAX) formats.clear();
    formats.set(zone, format);
  }
  return format;
}

/** The local time of a zone as if it were UTC: the fields are read with getUTC…. */
export function wallOf(ms: number, zone: string): Date {
  const parts: Record<string, number> = {};
  for (const { type, value } of formatOf(zone).formatToParts(ms)) parts[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  return new Date(Date.UTC(year, month - 1, day, hour, minute, second));
}

/**
 * The first moment at which the wall clock shows this time or, if the clock jumps over it,
 * the moment of the jump.
 *
 * @param wallMs the wall clock's fields as if they were UTC.
 */
export function momentOf(wallMs: number, zone: string): number {
  // Offsets lie within a day of UTC, so the moment does too. The wall clock may go back by an
  // hour or so on the way, which is why the earlier of both sides' offsets is tried first.
  const offsets = [wallMs - DAY_MS, wallMs + DAY_MS].map((ms) => wallOf(ms, zone).getTime() - ms);
  const candidates = offsets
    .map((offset) => wallMs - offset)
    .filter((ms) => wallOf(ms, zone).getTime() === wallMs)
    .toSorted((a, b) => a - b);
  const [first] = candidates;
  if (first !== undefined) return first;
  // The clock jumps over it: find the jump between the two sides.
  let low = Math.min(...offsets.map((offset) => wallMs - offset));
  let high = Math.max(...offsets.map((offset) => wallMs - offset));
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (wallOf(middle, zone).getTime() >= wallMs) high = middle;
    else low = middle;
  }
  return high;
}

/** The first moment of the day that holds `ms`, in that zone. */
export function startOfDay(ms: number, zone: string): number {
  const wall = wallOf(ms, zone).getTime();
  return momentOf(Math.floor(wall / DAY_MS) * DAY_MS, zone);
}
