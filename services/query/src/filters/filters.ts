import type { SessionFilters } from '@sockscope/schemas/api';
import ipaddr from 'ipaddr.js';
import { sessionConditions } from '../sql/filters.js';
import type { AddressRange, SessionConditions } from '../sql/filters.js';
import { timeSql } from '../sql/expressions.js';
import { allOf } from '../sql/query.js';
import type { Condition } from '../sql/query.js';
import type { SessionsTable } from '../sql/sessions.js';
import type { Dimension } from '@sockscope/schemas/sums';
import type { RollupSource, Span } from '../sql/sums.js';

/** Host names to compare with: as they are, or by their end (`.example.com`). */
export interface HostFilter {
  readonly exact: readonly string[];
  readonly suffixes: readonly string[];
}

/**
 * What sessions must be like, without the range of starts, which each question treats its own
 * way. An empty list lets nothing pass.
 */
export type Filters = Omit<SessionFilters, 'start_after' | 'start_before' | 'dest_host'> & {
  readonly dest_host?: HostFilter | undefined;
};

type FilterParams = Partial<SessionFilters>;

/** The filters among the parameters of a request. */
export function filtersOf(query: FilterParams): Filters {
  return {
    user: query.user,
    status: query.status,
    close_reason: query.close_reason,
    overlap_after: query.overlap_after,
    overlap_before: query.overlap_before,
    dest_host: query.dest_host === undefined ? undefined : hostFilterOf(query.dest_host),
    dest_ip: query.dest_ip,
    dest_port: query.dest_port,
    source_ip: query.source_ip,
    protocol: query.protocol,
    command: query.command,
    acl_decision: query.acl_decision,
    acl_rule_matched: query.acl_rule_matched,
    proxy_id: query.proxy_id,
    min_duration_secs: query.min_duration_secs,
    max_duration_secs: query.max_duration_secs,
    min_bytes: query.min_bytes,
    max_bytes: query.max_bytes,
  };
}

function hostFilterOf(patterns: readonly string[]): HostFilter {
  const isSuffix = (pattern: string) => pattern.startsWith('*.');
  return {
    exact: patterns.filter((pattern) => !isSuffix(pattern)),
    suffixes: patterns.filter(isSuffix).map((pattern) => pattern.slice(1)),
  };
}

/** The same filters for somebody who may see one user's sessions alone; null sees all. */
export function restrictedTo(onlyUser: string | null, filters: Filters): Filters {
  if (onlyUser === null) return filters;
  const wanted = filters.user ?? [onlyUser];
  return { ...filters, user: wanted.filter((user) => user === onlyUser) };
}

/** First and last address of an address or a CIDR block, in IPv6 form, IPv4 mapped. */
export function addressRangeOf(text: string): AddressRange {
  const [base = '', prefixText] = text.split('/');
  const parsed = ipaddr.parse(base);
  const isV4 = parsed.kind() === 'ipv4';
  const bytes = isV4
    ? (parsed as ipaddr.IPv4).toIPv4MappedAddress().toByteArray()
    : parsed.toByteArray();
  const prefix = prefixText === undefined ? 128 : Number(prefixText) + (isV4 ? 96 : 0);
  const end = (fill: 0 | 1) =>
    bytes.map((byte, i) => {
      const mask = 0xff >> Math.min(8, Math.max(0, prefix - i * 8));
      return fill === 1 ? byte | mask : byte & ~mask & 0xff;
    });
  const format = (octets: number[]) => new ipaddr.IPv6(octets).toNormalizedString();
  return { low: format(end(0)), high: format(end(1)) };
}

function conditionsOf(filters: Filters): SessionConditions {
  const { min_duration_secs, max_duration_secs, ...rest } = filters;
  return {
    ...rest,
    dest_ip: filters.dest_ip?.map(addressRangeOf),
    source_ip: filters.source_ip?.map(addressRangeOf),
    min_duration_ms: toMs(min_duration_secs),
    max_duration_ms: toMs(max_duration_secs),
  };
}

function toMs(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1_000);
}

/** The WHERE clause of filters over a table of sessions. */
export function filterOf(filters: Filters): Condition {
  return allOf(sessionConditions(conditionsOf(filters)));
}

const given = (filters: Filters) =>
  Object.entries(filters)
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name as keyof Filters);

export function isUnfiltered(filters: Filters): boolean {
  return given(filters).length === 0;
}

/** The table of sessions whose order suits the filters best. All three hold the same rows. */
export function sessionsTableOf(filters: Filters): SessionsTable {
  if (filters.user !== undefined) return 'sessions_by_user';
  if (filters.dest_host?.suffixes.length === 0) return 'sessions_by_destination';
  return 'sessions';
}

/** Columns that the table of traffic has, too. */
const TRAFFIC_FILTERS = [
  'user',
  'dest_host',
  'dest_port',
  'source_ip',
  'protocol',
  'proxy_id',
] as const satisfies readonly (keyof Filters)[];

/** The WHERE clause of filters over the traffic that moved in a range. */
export function trafficFilterOf(filters: Filters, range: Span): Condition {
  const direct: Filters = Object.fromEntries(TRAFFIC_FILTERS.map((name) => [name, filters[name]]));
  const own = allOf(sessionConditions(conditionsOf(direct)));
  const isDirect = (name: keyof Filters) => TRAFFIC_FILTERS.some((known) => known === name);
  if (given(filters).every(isDirect)) return own;
  const all = filterOf(filters);
  return allOf([
    own,
    {
      sql: `session_id IN (
        SELECT session_id FROM ${sessionsTableOf(filters)} FINAL
        WHERE started_at < ${timeSql('traffic_to')}
          AND (status = 'active' OR ended_at >= ${timeSql('traffic_from')})
          AND ${all.sql})`,
      // A minute may begin before the session and end after it.
      params: {
        ...all.params,
        traffic_from: range.fromMs - 60_000,
        traffic_to: range.toMs + 60_000,
      },
    },
  ]);
}

/** Filters that the rollups know as a dimension. */
const DIMENSION_FILTERS = [
  ['user', 'user'],
  ['dest_host', 'destination'],
  ['dest_port', 'port'],
  ['protocol', 'protocol'],
  ['proxy_id', 'proxy'],
] as const satisfies readonly (readonly [keyof Filters, Dimension])[];

const PAIR_FILTERS: readonly (keyof Filters)[] = ['user', 'dest_host', 'dest_port'];
const PAIR_DIMENSIONS: readonly string[] = ['total', 'user', 'destination', 'port', 'flow'];

/** The rollup that can answer by this dimension under these filters; null where only the exact tables can. */
export function rollupSourceOf(
  dimension: Dimension | 'flow',
  filters: Filters,
): RollupSource | null {
  const names = given(filters);
  const [name] = names;
  if (dimension !== 'flow') {
    if (name === undefined) return { kind: 'dimension', dimension, keys: null };
    const known = DIMENSION_FILTERS.find(([filter]) => filter === name);
    const keys = known === undefined ? null : keysOf(filters, known[0]);
    if (names.length === 1 && known !== undefined && keys !== null) {
      const [, filtered] = known;
      if (dimension === 'total' || dimension === filtered) {
        return { kind: 'dimension', dimension: filtered, keys };
      }
    }
  }
  const inPairs =
    PAIR_DIMENSIONS.includes(dimension) && names.every((each) => PAIR_FILTERS.includes(each));
  return inPairs ? { kind: 'pairs', filter: filterOf(filters) } : null;
}

/** The keys of a rollup that a filter lets pass; null where it is not a list of values. */
function keysOf(
  filters: Filters,
  name: (typeof DIMENSION_FILTERS)[number][0],
): readonly string[] | null {
  if (name === 'dest_host') {
    const { dest_host: hosts } = filters;
    return hosts === undefined || hosts.suffixes.length > 0 ? null : hosts.exact;
  }
  const value = filters[name];
  if (value === undefined) return null;
  return (Array.isArray(value) ? value : [value]).map(String);
}
