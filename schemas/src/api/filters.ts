import { z } from 'zod';
import { SESSION_STATUSES } from '../events/close-reason.js';
import type { SessionStatus } from '../events/close-reason.js';
import { fieldOf, FIELDS, FILTER_FIELDS } from '../events/fields.js';
import type { FilterField } from '../events/fields.js';
import { addressOrBlock, hostPattern, port, portOrNone, several, text, whole } from './values.js';

/** The parsed value of a field's filter, as a handler receives it. An empty text stands for null. */
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
  const { value, filter } = fieldOf(name);
  if (name === 'status') return z.enum(SESSION_STATUSES);
  if (filter === 'suffix') return hostPattern;
  if (filter === 'cidr') return addressOrBlock;
  if (value.kind === 'choice') return z.enum(value.values);
  return value.kind === 'integer' ? port : text;
}

/** The same, or the empty text. */
function orNone(name: FilterField): z.ZodType {
  return fieldOf(name).value.kind === 'integer'
    ? portOrNone
    : z.union([z.literal(''), itemOf(name)]);
}

/** The part of a filter's description that explains its values. */
const FORMS = {
  equals: '',
  one_of: '; exact; may be repeated',
  suffix: '; exact, or *.example.com for every name below it; may be repeated',
  cidr: '; address or CIDR block; may be repeated',
} as const;

function filterOf(name: FilterField): z.ZodType {
  const { filter = 'one_of', description, value } = fieldOf(name);
  // Null has no name: the empty text selects it.
  const isNullable = value.nullable === true;
  const item = isNullable ? orNone(name) : itemOf(name);
  const params = filter === 'equals' ? item : several(item);
  const none = isNullable ? '; empty for none' : '';
  return params.optional().describe(`${description}${FORMS[filter]}${none}`);
}

/**
 * Filters by how much: of both ways together, and of how long. An open session lasts until its
 * latest event.
 */
export const BOUNDS = {
  min_duration_ms: { of: 'duration_ms', end: 'least' },
  max_duration_ms: { of: 'duration_ms', end: 'most' },
  min_bytes: { of: 'bytes', end: 'least' },
  max_bytes: { of: 'bytes', end: 'most' },
} as const;
export type BoundName = keyof typeof BOUNDS;
export const BOUND_NAMES = Object.keys(BOUNDS) as BoundName[];

const MEASURED = {
  duration_ms: 'milliseconds; for an open session, until its latest event',
  bytes: 'bytes, both directions together',
} as const;

function boundOf(name: BoundName) {
  const { of, end } = BOUNDS[name];
  return whole(0, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe(`at ${end} this number of ${MEASURED[of]}`);
}

/** The filters of every question. All that are given must hold. */
export const filterParams = {
  ...(Object.fromEntries(
    FILTER_FIELDS.map((name) => [name, filterOf(name)]),
  ) as unknown as PlainFilterParams),
  ...(Object.fromEntries(BOUND_NAMES.map((name) => [name, boundOf(name)])) as {
    readonly [N in BoundName]: ReturnType<typeof boundOf>;
  }),
};

export type FilterName = keyof typeof filterParams;
export const FILTER_NAMES = Object.keys(filterParams) as FilterName[];
/** Filters as they were parsed. */
export type FilterParams = z.output<z.ZodObject<typeof filterParams>>;

/** The problems of bounds that exclude each other. */
export function checkFilters(
  filters: Partial<Readonly<Record<BoundName, number | undefined>>>,
  ctx: z.core.$RefinementCtx,
): void {
  for (const of of ['duration_ms', 'bytes'] as const) {
    const [low, high] = [filters[`min_${of}`], filters[`max_${of}`]];
    if (low !== undefined && high !== undefined && high < low) {
      ctx.addIssue({
        code: 'custom',
        path: [`max_${of}`],
        message: `must not be less than min_${of}`,
      });
    }
  }
}
