import { z } from 'zod';

/**
 * Row schemas for ClickHouse's answers: with this module's settings a 64-bit integer comes as
 * text and a time as ISO 8601, so that neither is rounded or misread.
 */

/** UInt64 or Int64 as a JavaScript number. One beyond 2^53 is an error, never a rounding. */
export const int64 = z
  .union([z.string().regex(/^-?\d{1,20}$/), z.int()])
  .transform((value, ctx) => {
    const number = Number(value);
    if (Number.isSafeInteger(number)) return number;
    ctx.addIssue({ code: 'custom', message: `${value} is beyond 2^53` });
    return z.NEVER;
  });

/** DateTime or DateTime64 in UTC as `2026-01-31T23:59:59.999Z`, for every precision. */
export const isoTime = z.string().transform((text, ctx) => {
  const ms = Date.parse(text);
  if (!Number.isNaN(ms) && text.endsWith('Z')) return new Date(ms).toISOString();
  ctx.addIssue({ code: 'custom', message: `${text} is not a UTC time` });
  return z.NEVER;
});

/** UInt8 0/1 or Bool. */
export const bool = z.union([z.boolean(), z.literal([0, 1])]).transform((value) => Boolean(value));
