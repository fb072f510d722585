import { BYTES_SQL, DURATION_SQL, timeSql } from './expressions.js';
import type { Condition } from './query.js';

/** Both ends included, in IPv6 form. */
export interface AddressRange {
  readonly low: string;
  readonly high: string;
}

/** What sessions may be filtered by, ready to be bound. */
export interface SessionConditions {
  readonly user?: readonly string[] | undefined;
  readonly status?: readonly string[] | undefined;
  readonly close_reason?: readonly string[] | undefined;
  readonly overlap_after?: number | undefined;
  readonly overlap_before?: number | undefined;
  /** A name that equals one of `exact` or ends with one of `suffixes`. */
  readonly dest_host?:
    | { readonly exact: readonly string[]; readonly suffixes: readonly string[] }
    | undefined;
  readonly dest_ip?: readonly AddressRange[] | undefined;
  readonly dest_port?: readonly number[] | undefined;
  readonly source_ip?: readonly AddressRange[] | undefined;
  readonly protocol?: string | undefined;
  readonly command?: string | undefined;
  readonly acl_decision?: string | undefined;
  readonly acl_rule_matched?: readonly string[] | undefined;
  readonly proxy_id?: readonly string[] | undefined;
  readonly min_duration_ms?: number | undefined;
  readonly max_duration_ms?: number | undefined;
  readonly min_bytes?: number | undefined;
  readonly max_bytes?: number | undefined;
}

const TEXT_LISTS = [
  'user',
  'status',
  'close_reason',
  'acl_rule_matched',
  'proxy_id',
] as const satisfies readonly (keyof SessionConditions)[];
const TEXTS = [
  'protocol',
  'command',
  'acl_decision',
] as const satisfies readonly (keyof SessionConditions)[];
const ADDRESSES = ['dest_ip', 'source_ip'] as const satisfies readonly (keyof SessionConditions)[];

function addressCondition(
  column: 'dest_ip' | 'source_ip',
  ranges: readonly AddressRange[],
): Condition {
  const parts = ranges.map((range, i) =>
    range.low === range.high
      ? { sql: `${column} = {${column}_${i}:IPv6}`, params: { [`${column}_${i}`]: range.low } }
      : {
          sql: `${column} BETWEEN {${column}_low_${i}:IPv6} AND {${column}_high_${i}:IPv6}`,
          params: { [`${column}_low_${i}`]: range.low, [`${column}_high_${i}`]: range.high },
        },
  );
  return {
    sql: parts.map((part) => part.sql).join(' OR '),
    params: Object.assign({}, ...parts.map((part) => part.params)) as Condition['params'],
  };
}

/** One condition per filter that is given. The names in the text are those of columns, never of a client. */
export function sessionConditions(f: SessionConditions): Condition[] {
  const conditions: Condition[] = [];
  const add = (sql: string, params: Condition['params']) => conditions.push({ sql, params });
  for (const name of TEXT_LISTS) {
    const values = f[name];
    if (values !== undefined)
      add(`${name} IN {f_${name}:Array(String)}`, { [`f_${name}`]: values });
  }
  for (const name of TEXTS) {
    const value = f[name];
    if (value !== undefined) add(`${name} = {f_${name}:String}`, { [`f_${name}`]: value });
  }
  for (const name of ADDRESSES) {
    const ranges = f[name];
    if (ranges !== undefined) conditions.push(addressCondition(name, ranges));
  }
  if (f.dest_host !== undefined) conditions.push(hostCondition(f.dest_host));
  if (f.dest_port !== undefined) {
    add('dest_port IN {f_dest_port:Array(UInt16)}', { f_dest_port: f.dest_port });
  }
  if (f.overlap_after !== undefined) {
    add(`status = 'active' OR ended_at >= ${timeSql('f_overlap_after')}`, {
      f_overlap_after: f.overlap_after,
    });
  }
  if (f.overlap_before !== undefined) {
    add(`started_at < ${timeSql('f_overlap_before')}`, { f_overlap_before: f.overlap_before });
  }
  const bounds = [
    ['min_duration_ms', DURATION_SQL, '>='],
    ['max_duration_ms', DURATION_SQL, '<='],
    ['min_bytes', BYTES_SQL, '>='],
    ['max_bytes', BYTES_SQL, '<='],
  ] as const;
  for (const [name, expression, compare] of bounds) {
    const value = f[name];
    if (value !== undefined) {
      add(`${expression} ${compare} {f_${name}:Int64}`, { [`f_${name}`]: value });
    }
  }
  return conditions;
}

function hostCondition(hosts: {
  readonly exact: readonly string[];
  readonly suffixes: readonly string[];
}): Condition {
  const parts: Condition[] = [];
  if (hosts.exact.length > 0) {
    parts.push({
      sql: 'dest_host IN {f_dest_host:Array(String)}',
      params: { f_dest_host: hosts.exact },
    });
  }
  if (hosts.suffixes.length > 0) {
    parts.push({
      sql: 'arrayExists(suffix -> endsWith(dest_host, suffix), {f_dest_suffix:Array(String)})',
      params: { f_dest_suffix: hosts.suffixes },
    });
  }
  return {
    sql: parts.map((part) => part.sql).join(' OR '),
    params: Object.assign({}, ...parts.map((part) => part.params)) as Condition['params'],
  };
}
