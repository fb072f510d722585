/** Times in one zone for the whole page. `zone` is an IANA name; `ms` counts from 1970 in UTC. */

/** A wall clock's reading: months from 1. */
export interface Wall {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  formats.set(zone, made);
  return made;
}

/** The wall clock of a zone. */
export function partsIn(zone: string, ms: number): Wall {
  const found = formatOf(zone).formatToParts(ms);
  const part = (wanted: Intl.DateTimeFormatPartTypes): number =>
    Number(found.find(({ type }) => type === wanted)?.value ?? 0);
  return {
    year: part('year'),
    month: part('month'),
    day: part('day'),
    hour: part('hour'),
    minute: part('minute'),
    second: part('second'),
  };
}

/** Minutes by which a zone is ahead of UTC at a moment. */
export function offsetMinutes(zone: string, ms: number): number {
  const { year, month, day, hour, minute, second } = partsIn(zone, ms);
  const wall = Date.UTC(year, month - 1, day, hour, minute, second);
  return Math.round((wall - Math.floor(ms / 1_000) * 1_000) / 60_000);
}

const two = (value: number): string => String(value).padStart(2, '0');

function offsetText(minutes: number): string {
  if (minutes === 0) return 'Z';
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** RFC 3339 with the zone's offset, which the API takes as it is. */
export function withOffset(zone: string, ms: number): string {
  const { year, month, day, hour, minute, second } = partsIn(zone, ms);
  const offset = offsetText(offsetMinutes(zone, ms));
  return `${year}-${two(month)}-${two(day)}T${two(hour)}:${two(minute)}:${two(second)}${offset}`;
}

/** `2026-03-29 14:03:20`. */
export function showTime(zone: string, ms: number): string {
  const { year, month, day, hour, minute, second } = partsIn(zone, ms);
  return `${year}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)}`;
}

/**
 * The moments at which a zone's wall clock shows a time: two after it was set back, none in
 * the hour that it skipped.
 */
export function momentsOf(zone: string, wall: Wall): number[] {
  const { year, month, day, hour, minute, second } = wall;
  const asUtc = Date.UTC(year, month - 1, day, hour, minute, second);
  const offsets = new Set([-86_400_000, 86_400_000].map((by) => offsetMinutes(zone, asUtc + by)));
  return [...offsets]
    .map((minutes) => asUtc - minutes * 60_000)
    .filter((ms) => ms + offsetMinutes(zone, ms) * 60_000 === asUtc)
    .toSorted((a, b) => a - b);
}

/** The same for the text of a date and time input, such as `2026-03-29T14:03`. None if it is no time. */
export function momentsAt(zone: string, text: string): number[] {
  const parts = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})(?::(\d{2}))?/.exec(text);
  if (parts === null) return [];
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = parts
    .slice(1)
    .map((part) => Number(part ?? 0));
  return momentsOf(zone, { year, month, day, hour, minute, second });
}

/** The text of a date and time input for a moment, to the second. */
export function inputTime(zone: string, ms: number): string {
  return showTime(zone, ms).replace(' ', 'T');
}

/** `November 2026` for `2026-11`; a day stays as it is. */
export function showPeriod(period: string, locale: string): string {
  if (period.length > 7) return period;
  return new Intl.DateTimeFormat(locale, {
    month: 'long',
    year: 'numeric',
    timeZone: 'UTC',
  }).format(Date.parse(`${period}-01T00:00:00Z`));
}

const UNIT_NAMES = { m: 'minute', h: 'hour', d: 'day' } as const;

/** `24 hours` for `24h`; text of another form stays as it is. */
export function showSpan(span: string, locale: string): string {
  const [, amount, unit] = /^(\d+)([mhd])$/.exec(span) ?? [];
  if (amount === undefined) return span;
  return new Intl.NumberFormat(locale, {
    style: 'unit',
    unit: UNIT_NAMES[unit as keyof typeof UNIT_NAMES],
    // Abbreviations fit every case of a Polish sentence.
    unitDisplay: locale === 'pl' ? 'short' : 'long',
  }).format(Number(amount));
}

/** The calendar month of a moment in a zone, as `2026-11`. */
export function monthOf(zone: string, ms: number): string {
  return showTime(zone, ms).slice(0, 7);
}
