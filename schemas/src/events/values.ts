import { z } from 'zod';
import { parseIpv6Words } from '../net/address.js';
import { counters } from './counters.js';
import { sessionId } from './session-id.js';
import { timestamp } from './time.js';

/**
 * The kinds of values that a field can have. Each kind knows how it looks in an event (`zod`), how it
 * looks in an answer of the API (`answer`), and its type in ClickHouse (`column`). The code generators
 * in `generate/` know how to write and read each kind without zod.
 */
export type Value = (
  | { readonly kind: 'text'; readonly max: number }
  | { readonly kind: 'choice'; readonly values: readonly string[] }
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  | { readonly kind: 'time' | 'uuid' | 'address' | 'counters' | 'flag' }
) & {
  readonly column: string;
  /** Whether null is a value. */
  readonly nullable?: true;
  /** Whether events from before the field existed lack it. It is null then, and a flag is false. */
  readonly optional?: true;
  readonly zod: z.ZodType;
  readonly answer: z.ZodType;
};

/** A lone surrogate is no character and has no UTF-8: a database would refuse it or change it. */
const isWellFormed = (value: string): boolean => !/\p{Surrogate}/u.test(value);

function boundedText(max: number) {
  return z
    .string()
    .min(1)
    .max(max)
    .refine(isWellFormed, 'must be well-formed Unicode, without lone surrogates');
}

/** A text of 1 to `max` UTF-16 code units, mostly different from row to row. */
export function text(max: number) {
  return {
    kind: 'text',
    max,
    column: 'String',
    zod: boundedText(max),
    answer: z.string(),
  } as const;
}

/** A text of 1 to `max` UTF-16 code units of which there are few: the table holds each of them once per block. */
export function label(max: number) {
  return { ...text(max), column: 'LowCardinality(String)' } as const;
}

/** One of a closed set of texts. */
export function choice<const T extends readonly [string, ...string[]]>(values: T) {
  return {
    kind: 'choice',
    values,
    column: 'LowCardinality(String)',
    zod: z.enum(values),
    answer: z.enum(values),
  } as const;
}

/** A whole number. Its width in the table follows from `max`, which is at most 2^53 - 1. */
export function integer(min: number, max: number) {
  const bits = max < 2 ** 16 ? 16 : max < 2 ** 32 ? 32 : 64;
  const zod = z.int().min(min).max(max);
  return { kind: 'integer', min, max, column: `UInt${bits}`, zod, answer: zod } as const;
}

/** A number of things, bytes or milliseconds: from 0 to 2^53 - 1. */
export function count() {
  return integer(0, Number.MAX_SAFE_INTEGER);
}

/** A port of TCP or UDP. */
export function port() {
  return integer(0, 65_535);
}

/** A time in an answer: UTC, milliseconds, `Z`. */
export const wireTime = z.string().meta({ format: 'date-time' });

/** A time in UTC, to the millisecond. */
export function time() {
  return {
    kind: 'time',
    column: "DateTime64(3, 'UTC')",
    zod: timestamp,
    answer: wireTime,
  } as const;
}

/** The id of a session. */
export function uuid() {
  return { kind: 'uuid', column: 'UUID', zod: sessionId, answer: sessionId } as const;
}

/** An IPv4 or IPv6 address. The tables hold IPv4 mapped into IPv6. */
export function address() {
  return {
    kind: 'address',
    column: 'IPv6',
    // The net module can read it.
    zod: z
      .union([z.ipv4(), z.ipv6()])
      .refine((ip) => parseIpv6Words(ip) !== null, 'must be an address'),
    answer: z.string(),
  } as const;
}

/** Whether something holds; false in events without the field. Never null. */
export function flag() {
  return {
    kind: 'flag',
    column: 'UInt8',
    optional: true,
    zod: z.boolean().default(false),
    answer: z.boolean(),
  } as const;
}

/** The four counters together: an object in the event, four columns in the table. */
export function fourCounters() {
  return { kind: 'counters', column: 'UInt64', zod: counters, answer: counters } as const;
}

type OrNull<V extends Value> = Omit<V, 'column' | 'zod' | 'answer'> & {
  readonly column: string;
  readonly nullable: true;
  readonly zod: z.ZodNullable<V['zod']>;
  readonly answer: z.ZodNullable<V['answer']>;
};

/** The same, or null. */
export function orNull<const V extends Value>(value: V): OrNull<V> {
  return {
    ...value,
    column: nullableColumn(value.column),
    nullable: true,
    zod: value.zod.nullable(),
    answer: value.answer.nullable(),
  };
}

/** ClickHouse's type that also holds null. */
export function nullableColumn(column: string): string {
  const inner = /^LowCardinality\((.+)\)$/.exec(column)?.[1];
  return inner === undefined ? `Nullable(${column})` : `LowCardinality(Nullable(${inner}))`;
}

type Added<V extends Value> = Omit<V, 'zod'> & {
  readonly optional: true;
  readonly zod: z.ZodDefault<V['zod']>;
};

/**
 * The same for a field that was added to the contract after its first release: null in events that
 * lack it, so that these stay valid.
 */
export function added<const V extends Value & { readonly nullable: true }>(value: V): Added<V> {
  return { ...value, optional: true, zod: value.zod.default(null) };
}
