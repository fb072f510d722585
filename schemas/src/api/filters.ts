import { z } from 'zod';
import { SESSION_STATUSES } from '../events/close-reason.js';
import type { SessionStatus } from '../events/close-reason.js';
import { fieldOf, FIELDS, FILTER_FIELDS } from '../events/fields.js';
import type { FilterField } from '../events/fields.js';
import {
  addressOrBlock,
  decimal,
  hostPattern,
  instant,
  port,
  several,
  text,
  whole,
} from './values.js';

const MAX_DURATION_SECS = 3_153_600_000;

/** What a field's filter gives to the handler of a request. */
type FilterValue<N extends FilterField> = N extends 'status'
  ? SessionStatus[]
  : (typeof FIELDS)[N]['filter'] extends 'equals'
    ? Answer<N>
    : Answer<N>[];
type Answer<N extends FilterField> = NonNullable<z.output<(typeof FIELDS)[N]['value']['answer']>>;

type PlainFilterParams = {
  readonly [N in FilterField]: z.ZodOptional<z.ZodType<FilterValue<N>>>;
};

/** One value of a field in a query string. */
function itemOf(name: FilterField): z.ZodType {
  const { value } = fieldOf(name);
  if (name === 'status') return z.enum(SESSION_STATUSES);
  if (value.kind === 'choice') return z.enum(value.values);
  return value.kind === 'integer' ? port : text;
}

function filterOf(name: FilterField): z.ZodType {
  const { filter, description } = fieldOf(name);
  switch (filter) {
    case 'equals':
      return itemOf(name).optional().describe(description);
    case 'suffix':
      return several(hostPattern)
        .optional()
        .describe(
          `${description}; exact, or *.example.com for every name below it; may be repeated`,
        );
    case 'cidr':
      return several(addressOrBlock)
        .optional()
        .describe(`${description}; address or CIDR block; may be repeated`);
    default:
      return several(itemOf(name)).optional().describe(`${description}; exact; may be repeated`);
  }
}

/** Filters by what a session is. All that are given must hold. */
export const attributeFilterParams = {
  ...(Object.fromEntries(
    FILTER_FIELDS.map((name) => [name, filterOf(name)]),
  ) as unknown as PlainFilterParams),
  min_duration_secs: decimal(0, MAX_DURATION_SECS)
    .optional()
    .describe('at least this long; an open session lasts until it was last heard of'),
  max_duration_secs: decimal(0, MAX_DURATION_SECS).optional().describe('at most this long'),
  min_bytes: whole(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('at least this many bytes, both ways together'),
  max_bytes: whole(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('at most this many bytes, both ways together'),
};

/** Filters of lists of sessions: by what they are, and by when they were. */
export const sessionFilterParams = {
  ...attributeFilterParams,
  start_after: instant.optional().describe('started at or after this time'),
  start_before: instant.optional().describe('started before this time'),
  overlap_after: instant.optional().describe('open at or after this time: not ended before it'),
  overlap_before: instant.optional().describe('open before this time: started before it'),
};

/** The problems of bounds that exclude each other. */
export function checkFilterRanges(
  filters: {
    start_after?: number | undefined;
    start_before?: number | undefined;
    overlap_after?: number | undefined;
    overlap_before?: number | undefined;
    min_duration_secs?: number | undefined;
    max_duration_secs?: number | undefined;
    min_bytes?: number | undefined;
    max_bytes?: number | undefined;
  },
  ctx: z.core.$RefinementCtx,
): void {
  const pairs = [
    ['start_before', filters.start_after, filters.start_before],
    ['overlap_before', filters.overlap_after, filters.overlap_before],
    ['max_duration_secs', filters.min_duration_secs, filters.max_duration_secs],
    ['max_bytes', filters.min_bytes, filters.max_bytes],
  ] as const;
  for (const [parameter, low, high] of pairs) {
    if (low !== undefined && high !== undefined && high < low) {
      ctx.addIssue({
        code: 'custom',
        path: [parameter],
        message: `must not lie below the other end of the range`,
      });
    }
  }
}
