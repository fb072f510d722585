import { fieldOf, FILTER_FIELDS } from '@sockscope/schemas';
import type { FilterField } from '@sockscope/schemas';
import { BOUND_NAMES, BOUNDS } from '@sockscope/schemas/api';
import type { FilterParams } from '@sockscope/schemas/api';
import { addressRangeOf } from '../filters/addresses.js';
import { isPattern, plainHost } from '../filters/hosts.js';
import { BYTES_SQL, DURATION_SQL } from './expressions.js';
import { anyOf } from './query.js';
import type { Condition } from './query.js';

const MEASURED_SQL = { duration_ms: DURATION_SQL, bytes: BYTES_SQL } as const;
const COMPARED = { least: '>=', most: '<=' } as const;

/** A row of `ended_sessions` that a former version stored, without the addresses. */
export const ENDED_UNKNOWN_SQL = 'egress_port = 0';

/** One condition per filter that is given. The names in the text are names of columns, never of a client. */
export function conditionsOf(filters: Partial<FilterParams>): Condition[] {
  const plain = FILTER_FIELDS.flatMap((name) => {
    const value = filters[name];
    if (value === undefined) return [];
    return [conditionOf(name, Array.isArray(value) ? value : [value])];
  });
  const bounds = BOUND_NAMES.flatMap((name): Condition[] => {
    const value = filters[name];
    if (value === undefined) return [];
    const { of, end } = BOUNDS[name];
    const sql = `${MEASURED_SQL[of]} ${COMPARED[end]} {f_${name}:Int64}`;
    return [{ sql, params: { [`f_${name}`]: value } }];
  });
  return [...plain, ...bounds];
}

function conditionOf(name: FilterField, values: readonly (string | number)[]): Condition {
  const { filter, value } = fieldOf(name);
  // The empty text stands for null.
  const named = value.nullable === true ? values.filter((each) => each !== '') : values;
  const parts: Condition[] =
    named.length < values.length ? [{ sql: `${name} IS NULL`, params: {} }] : [];
  if (named.length > 0 || parts.length === 0) {
    if (filter === 'cidr') parts.push(...named.map((text, i) => addressIn(name, String(text), i)));
    else if (filter === 'suffix') parts.push(...hostsIn(name, named.map(String)));
    else parts.push(oneOf(name, value.kind === 'integer' ? 'UInt16' : 'String', named));
  }
  return anyOf(parts);
}

function oneOf(
  name: FilterField,
  type: 'String' | 'UInt16',
  values: readonly (string | number)[],
): Condition {
  return {
    sql: `${name} IN {f_${name}:Array(${type})}`,
    params: { [`f_${name}`]: [...values] as string[] | number[] },
  };
}

function addressIn(name: FilterField, text: string, i: number): Condition {
  const { low, high, spansIpv4 } = addressRangeOf(text);
  if (low === high)
    return { sql: `${name} = {${name}_${i}:IPv6}`, params: { [`${name}_${i}`]: low } };
  return {
    sql: `${name} BETWEEN {${name}_low_${i}:IPv6} AND {${name}_high_${i}:IPv6}${spansIpv4 ? ` AND NOT ${isIpv4(name)}` : ''}`,
    params: { [`${name}_low_${i}`]: low, [`${name}_high_${i}`]: high },
  };
}

/** Addresses of IPv4 are stored within IPv6, and are in no block of IPv6 that spans them. */
function isIpv4(name: FilterField): string {
  return `(${name} BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'))`;
}

/** Names that are equal, or end alike. */
function hostsIn(name: FilterField, patterns: readonly string[]): Condition[] {
  const exact = patterns.filter((pattern) => !isPattern(pattern)).map(plainHost);
  const suffixes = patterns.filter(isPattern).map((pattern) => pattern.slice(1));
  return [
    ...(exact.length > 0 || suffixes.length === 0 ? [oneOf(name, 'String', exact)] : []),
    ...(suffixes.length === 0
      ? []
      : [
          {
            sql: `arrayExists(suffix -> endsWith(${name}, suffix), {f_${name}_suffix:Array(String)})`,
            params: { [`f_${name}_suffix`]: suffixes },
          },
        ]),
  ];
}
