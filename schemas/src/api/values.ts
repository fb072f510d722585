import { z } from 'zod';

/** Bounds of what a request may ask for. A value beyond them is a 400 that names the parameter. */
export const API_LIMITS = {
  page_size_default: 100,
  page_size_max: 1_000,
  /** Values that one filter may hold (`user=a&user=b`). */
  filter_values_max: 50,
  text_chars: 1_024,
  cursor_chars: 4_096,
  top_default: 10,
  top_max: 100,
  /** Points of one series of `traffic`. */
  buckets_max: 1_500,
  /** Series of one split of `traffic`. */
  series_max: 20,
  flows_default: 50,
  flows_max: 500,
  /** The longest range of `stats`, `top/*`, `traffic`, in days. */
  range_days_max: 3_660,
} as const;

const EARLIEST_MS = 0;
/** ClickHouse's DateTime ends in February 2106. */
const LATEST_MS = Date.UTC(2106, 0, 1);
const DAY_MS = 86_400_000;

const INSTANT =
  /^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)([Zz]|[+\- ]\d{2}:\d{2}))?$/;

/** Milliseconds since 1970 of an RFC 3339 time or a date, or null. Finer fractions are cut off. */
function parseInstant(text: string): number | null {
  const match = INSTANT.exec(text);
  if (match === null) return null;
  const [, date = '', time, zone = 'Z'] = match;
  // A date that does not exist (30 February) would roll over into the next month.
  const day = Date.parse(`${date}T00:00:00.000Z`);
  if (Number.isNaN(day) || !new Date(day).toISOString().startsWith(date)) return null;
  if (time === undefined) return day;
  const [clock = '', fraction = ''] = time.split('.');
  const seconds = clock.length === 5 ? `${clock}:00` : clock;
  if (seconds > '23:59:59') return null;
  // In a URL `+` stands for a space; nobody means a space here.
  const offset = zone.toUpperCase().replace(' ', '+');
  const ms = Date.parse(`${date}T${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}${offset}`);
  return Number.isNaN(ms) ? null : ms;
}

/** A point in time in a query string; the handler sees milliseconds since 1970. */
export const instant = z
  .string()
  .max(64)
  .transform((text, ctx) => {
    const ms = parseInstant(text);
    if (ms === null || ms < EARLIEST_MS || ms >= LATEST_MS) {
      ctx.addIssue({
        code: 'custom',
        message:
          'must be a time from 1970 to 2105 such as 2026-01-31T23:59:59.999Z, 2026-01-31T12:00:00+02:00 or 2026-01-31',
      });
      return z.NEVER;
    }
    return ms;
  })
  .meta({ format: 'date-time', examples: ['2026-01-31T12:00:00.000Z'] });

/** A whole number in a query string. `1e3`, `0x10`, blanks and empty text are refused. */
export function whole(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.preprocess(
    (value) => (typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value),
    z.int(message).min(min, message).max(max, message),
  );
}

/** A number with an optional fraction in a query string. */
export function decimal(min: number, max: number) {
  const message = `must be a number from ${min} to ${max}`;
  return z.preprocess(
    (value) =>
      typeof value === 'string' && /^\d{1,16}(?:\.\d{1,6})?$/.test(value) ? Number(value) : value,
    z.number(message).min(min, message).max(max, message),
  );
}

/** A filter that may be given several times; a session passes if any value fits. */
export function several<T extends z.ZodType>(item: T) {
  return z.preprocess(
    (value) => (value === undefined || Array.isArray(value) ? value : [value]),
    z
      .array(item)
      .min(1)
      .max(
        API_LIMITS.filter_values_max,
        `may be given at most ${API_LIMITS.filter_values_max} times`,
      ),
  );
}

/** Text to compare with as it is. */
export const text = z
  .string()
  .min(1, 'must not be empty')
  .max(API_LIMITS.text_chars, `must have at most ${API_LIMITS.text_chars} characters`);

/** A host to compare with as it is, or `*.example.com`: every name below example.com. */
export const hostPattern = text
  .refine(
    (host) => !host.startsWith('*') || /^\*\.[^*]+$/.test(host),
    'a pattern must be *. and a name, such as *.example.com',
  )
  .meta({ examples: ['example.com', '*.example.com'] });

/** An address, or a block of them in CIDR notation. */
export const addressOrBlock = z
  .union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], {
    error: 'must be an IP address or a block such as 10.0.0.0/8 or 2001:db8::/32',
  })
  .meta({ examples: ['10.0.0.0/8'] });

export const port = whole(0, 65_535);

function isTimeZone(name: string): boolean {
  // Offsets such as +02:00 are not names; only names have a history of their rules.
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    void new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** A name of the IANA time zone database. */
export const timeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, 'must be a time zone name such as UTC or Europe/Berlin')
  .meta({ examples: ['Europe/Berlin'] });

export const pageSize = whole(1, API_LIMITS.page_size_max).default(API_LIMITS.page_size_default);

/** The same where no limit may mean all, in an export. */
export const optionalPageSize = whole(1, API_LIMITS.page_size_max)
  .optional()
  .describe(`default: ${API_LIMITS.page_size_default}, and all in an export`);

/** Takes `next_cursor` of the page before; bound to the filters it was made with. */
export const cursor = z
  .string()
  .min(1)
  .max(API_LIMITS.cursor_chars)
  .regex(/^[A-Za-z0-9_-]+$/, 'must be the next_cursor of an earlier answer');

/** `from` (included) and `to` (excluded), both optional. */
export const rangeParams = {
  from: instant.optional().describe('start of the range, included; default: today'),
  to: instant.optional().describe('end of the range, excluded; default: now'),
  time_zone: timeZone.default('UTC').describe('what "today", days and weeks mean'),
};

/** The problems of a range, as sentences for `from` and `to`. */
export function checkRange(
  range: { from?: number | undefined; to?: number | undefined },
  ctx: z.core.$RefinementCtx,
): void {
  const { from, to } = range;
  if (from === undefined || to === undefined) return;
  if (to <= from) ctx.addIssue({ code: 'custom', path: ['to'], message: 'must lie after from' });
  if (to - from > API_LIMITS.range_days_max * DAY_MS) {
    ctx.addIssue({
      code: 'custom',
      path: ['from'],
      message: `the range may span at most ${API_LIMITS.range_days_max} days`,
    });
  }
}
