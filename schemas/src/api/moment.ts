import { z } from 'zod';

/** Bounds of the times that a table can hold: ClickHouse's DateTime ends in February 2106. */
export const EARLIEST_MS = 0;
export const LATEST_MS = Date.UTC(2106, 0, 1);

export const MOMENT_UNITS = ['s', 'm', 'h', 'd', 'w', 'M', 'y'] as const;
export type MomentUnit = (typeof MOMENT_UNITS)[number];

/** A step from now: back by a number of units, or down to the start of one. */
export type MomentStep =
  | { readonly kind: 'back'; readonly count: number; readonly unit: MomentUnit }
  | { readonly kind: 'floor'; readonly unit: MomentUnit };

/** A point in time as a request names it. Dates and steps need the time zone of the request. */
export type Moment =
  | { readonly kind: 'instant'; readonly ms: number }
  /** 00:00 of a calendar date, `YYYY-MM-DD`. */
  | { readonly kind: 'date'; readonly date: string }
  | { readonly kind: 'now'; readonly steps: readonly MomentStep[] };

/** A whole calendar month or day: `YYYY-MM` or `YYYY-MM-DD`. */
export interface Period {
  readonly unit: 'M' | 'd';
  /** Its first day. */
  readonly date: string;
}

const STEPS_MAX = 4;
const YEAR = String.raw`(?:19[7-9]\d|20\d\d|210[0-5])`;
const DATE = String.raw`${YEAR}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])`;
const CLOCK = String.raw`(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?`;
// In a URL `+` stands for a space; nobody means a space there.
const OFFSET = String.raw`(?:[Zz]|[+\- ](?:[01]\d|2[0-3]):[0-5]\d)`;
const STEP = String.raw`(?:-\d{1,6}[smhdwMy]|\/[mhdwMy])`;
const INSTANT = new RegExp(`^(${DATE})[Tt ](${CLOCK})(${OFFSET})$`);
const ONLY_DATE = new RegExp(`^${DATE}$`);
const EPOCH = /^\d{1,13}$/;
const NOW = new RegExp(`^now(?:${STEP}){0,${STEPS_MAX}}$`);
const PERIOD = new RegExp(String.raw`^${YEAR}-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?$`);
const ANY = new RegExp(
  `^(?:${DATE}[Tt ]${CLOCK}${OFFSET}|${DATE}|\\d{1,13}|now(?:${STEP}){0,${STEPS_MAX}})$`,
);

/** A date that does not exist (30 February) would roll over into the next month. */
function exists(date: string): boolean {
  const day = Date.parse(`${date}T00:00:00.000Z`);
  return (
    !Number.isNaN(day) &&
    new Date(day).toISOString().startsWith(date) &&
    day >= EARLIEST_MS &&
    day < LATEST_MS
  );
}

function instantOf(text: string): number | null {
  const match = INSTANT.exec(text);
  if (match === null) return null;
  const [, date = '', time = '', offset = ''] = match;
  if (!exists(date)) return null;
  const [clock = '', fraction = ''] = time.split('.');
  const seconds = clock.length === 5 ? `${clock}:00` : clock;
  const zone = offset.toUpperCase().replace(' ', '+');
  return Date.parse(`${date}T${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}${zone}`);
}

function stepsOf(text: string): MomentStep[] {
  return [...text.matchAll(/-(\d+)([smhdwMy])|\/([mhdwMy])/g)].map(([, count, back, floor]) =>
    floor === undefined
      ? { kind: 'back', count: Number(count), unit: back as MomentUnit }
      : { kind: 'floor', unit: floor as MomentUnit },
  );
}

/** Parses a point in time; null if the text is none. Fractions finer than a millisecond are cut off. */
export function parseMoment(text: string): Moment | null {
  if (NOW.test(text)) return { kind: 'now', steps: stepsOf(text.slice('now'.length)) };
  if (ONLY_DATE.test(text)) return exists(text) ? { kind: 'date', date: text } : null;
  const ms = EPOCH.test(text) ? Number(text) : instantOf(text);
  return ms === null || ms < EARLIEST_MS || ms >= LATEST_MS ? null : { kind: 'instant', ms };
}

/** A point in time in a query string. */
export const moment = z
  .string()
  .max(64)
  .regex(
    ANY,
    'must be a time with an offset such as 2026-01-31T12:00:00Z, milliseconds since 1970, a date such as 2026-01-31, or now, now-24h, now/d, now-1M/M',
  )
  .transform((text, ctx): Moment => {
    const parsed = parseMoment(text);
    if (parsed !== null) return parsed;
    ctx.addIssue({ code: 'custom', message: 'must be a time that exists, from 1970 to 2105' });
    return z.NEVER;
  })
  .meta({ examples: ['now-24h', 'now/d', '2026-01-31', '2026-01-31T12:00:00+02:00'] });

/** A whole calendar month or day in a query string. */
export const period = z
  .string()
  .max(10)
  .regex(PERIOD, 'must be a month such as 2026-03 or a day such as 2026-03-05')
  .transform((text, ctx): Period => {
    const date = text.length === 7 ? `${text}-01` : text;
    if (exists(date)) return { unit: text.length === 7 ? 'M' : 'd', date };
    ctx.addIssue({ code: 'custom', message: 'must be a date that exists, from 1970 to 2105' });
    return z.NEVER;
  })
  .meta({ examples: ['2026-03', '2026-03-05'] });
