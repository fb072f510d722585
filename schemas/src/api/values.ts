import { z } from 'zod';
import { EARLIEST_MS, LATEST_MS, moment, period } from './moment.js';
import type { Moment, Period } from './moment.js';

/** Bounds of parameters. A value beyond them is a 400 that names the parameter. */
export const API_LIMITS = {
  page_size_default: 100,
  page_size_max: 1_000,
  /** Values that one filter may hold (`user=a&user=b`). */
  filter_values_max: 50,
  text_chars: 1_024,
  cursor_chars: 4_096,
  top_default: 10,
  top_max: 1_000,
  /** Points of one series of `traffic`. */
  buckets_max: 1_500,
  /** Series of one split of `traffic`. */
  series_max: 20,
  flows_default: 50,
  flows_max: 500,
  /** The longest range of `stats`, `top/*`, `traffic`, in days. */
  range_days_max: 3_660,
} as const;

/** A whole number in a query string. `1e3`, `0x10`, blanks and empty text are refused. */
export function whole(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.preprocess(numberOf, z.int(message).min(min, message).max(max, message));
}

function numberOf(value: unknown): unknown {
  return typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value;
}

/** `true` or `false` in a query string. */
export const flag = z
  .enum(['true', 'false'])
  .transform((value) => value === 'true')
  .optional();

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

/** Text that can be stored: half of a pair of surrogates has no bytes in UTF-8. */
export const storableText = z
  .string()
  .refine((value) => !/\p{Surrogate}/u.test(value), 'must not have half a character');

/** A time in a body, within the years that a range can name. */
export const storableTime = z.iso.datetime({ offset: true }).refine((time) => {
  const ms = Date.parse(time);
  return ms >= EARLIEST_MS && ms < LATEST_MS;
}, 'must lie in the years 1970 to 2105');

/** Text to compare with as it is. */
export const text = storableText
  .min(1, 'must not be empty')
  .max(API_LIMITS.text_chars, `must have at most ${API_LIMITS.text_chars} characters`);

/**
 * A host to compare with as it is, or `*.example.com`: every name below example.com. A backslash before the asterisk
 * stands for the host that is written so.
 */
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
/** The same, or the empty text for none. */
export const portOrNone = z.preprocess(
  numberOf,
  z.union([z.literal(''), z.int().min(0).max(65_535)], {
    error: 'must be a whole number from 0 to 65535, or empty for none',
  }),
);

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

/** The same if no limit may mean all, in an export. */
export const optionalPageSize = whole(1, API_LIMITS.page_size_max)
  .optional()
  .describe(`default: ${API_LIMITS.page_size_default}, and all in an export`);

/** Takes `next_cursor` of the page before; bound to the filters it was made with. */
export const cursor = z
  .string()
  .min(1)
  .max(API_LIMITS.cursor_chars)
  .regex(/^[A-Za-z0-9_-]+$/, 'must be the next_cursor of an earlier answer');

/** One range everywhere, half-open. The handler resolves it by `time_zone`. */
export const rangeParams = {
  from: moment
    .optional()
    .describe('start of the range, included; default: the start of the day that `to` lies in'),
  to: moment.optional().describe('end of the range, excluded; default: now'),
  period: period.optional().describe('a whole calendar month or day; replaces from and to'),
  time_zone: timeZone
    .default('UTC')
    .describe('time zone of days, weeks, months and dates without a time'),
};

/** The same if no range means everything that is kept. */
export const openRangeParams = {
  ...rangeParams,
  from: moment
    .optional()
    .describe('start of the range, included; default: the earliest stored session'),
  to: moment.optional().describe('end of the range, excluded; default: no end'),
};

/** `from`, `to`, `period` and `time_zone` after parsing. */
export interface RangeParams {
  readonly from?: Moment | undefined;
  readonly to?: Moment | undefined;
  readonly period?: Period | undefined;
  readonly time_zone: string;
}

/** A period excludes the two ends. Whether they are in order shows when they are resolved. */
export function checkRange(
  range: Omit<RangeParams, 'time_zone'>,
  ctx: z.core.$RefinementCtx,
): void {
  if (range.period === undefined) return;
  for (const name of ['from', 'to'] as const) {
    if (range[name] !== undefined) {
      ctx.addIssue({ code: 'custom', path: [name], message: 'cannot be combined with period' });
    }
  }
}
