import { FILTER_FIELDS, fieldOf } from '@sockscope/schemas';
import type { FilterField } from '@sockscope/schemas';
import { FILTER_NAMES } from '@sockscope/schemas/api';
import type { FilterName, FilterParams } from '@sockscope/schemas/api';
import { recordedHost } from '@sockscope/schemas/net';
import {
  countsAtEnd,
  DIMENSIONS,
  ENDED_ADDRESS_FIELDS,
  ENDED_FIELDS,
  keyColumn,
  PAIR_COLUMNS,
} from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import type { LookedUp, Sought } from '../sql/earlier-starts.js';
import { conditionsOf, ENDED_UNKNOWN_SQL } from '../sql/filters.js';
import { allOf, anyOf } from '../sql/query.js';
import type { Condition } from '../sql/query.js';
import type { Projection, SessionsTable } from '../sql/sessions.js';
import { isAddress } from '../sql/sums.js';
import type { RollupSource, SumsBy } from '../sql/sums.js';
import { addressRangeOf } from './addresses.js';
import { exactHost, isPattern, plainHost } from './hosts.js';

/**
 * The one set of filters of every question. The table of fields declares each of them;
 * an empty list lets nothing pass.
 */
export type Filters = Partial<FilterParams>;

const given = (filters: Filters): FilterName[] =>
  FILTER_NAMES.filter((name) => filters[name] !== undefined);

/** The filters with names that pass. */
const only = (filters: Filters, passes: (name: FilterName) => boolean): Filters =>
  Object.fromEntries(
    given(filters)
      .filter(passes)
      .map((name) => [name, filters[name]]),
  );

/** The filters among the parameters of a request. */
export function filtersOf(query: Filters): Filters {
  const filters = only(query, () => true);
  if (filters.dest_host === undefined) return filters;
  return { ...filters, dest_host: filters.dest_host.flatMap(hostPatterns) };
}

/** A host as it is recorded, and as it was asked for: sessions of former versions may have it so. */
export function recordedHosts(host: string): string[] {
  return [...new Set([recordedHost(host), host])];
}

function hostPatterns(text: string): string[] {
  if (!isPattern(text)) return recordedHosts(plainHost(text)).map(exactHost);
  return [...new Set([`*.${recordedHost(text.slice(2))}`, text])];
}

/** The same filters for a caller that may see only these users' sessions; null sees all. */
export function restrictedTo(onlyUsers: readonly string[] | null, filters: Filters): Filters {
  if (onlyUsers === null) return filters;
  const wanted = filters.user ?? onlyUsers;
  return { ...filters, user: wanted.filter((user) => onlyUsers.includes(user)) };
}

/** The WHERE clause of filters over a table of sessions. */
export function filterOf(filters: Filters): Condition {
  return allOf(conditionsOf(filters));
}

export function isUnfiltered(filters: Filters): boolean {
  return given(filters).length === 0;
}

/** The table of sessions whose order suits the filters best. All three hold the same rows. */
export function sessionsTableOf(filters: Filters): SessionsTable {
  if (filters.user !== undefined) return 'sessions_by_user';
  if (filters.dest_host?.some(isPattern) === false) return 'sessions_by_destination';
  return 'sessions';
}

const ENDED_ADDRESS_NAMES: readonly string[] = ENDED_ADDRESS_FIELDS;
/** Filters that `ended_sessions` has the columns for. */
const ENDED_NAMES: readonly string[] = [
  ...ENDED_FIELDS,
  'min_bytes',
  'max_bytes',
  'min_duration_ms',
  'max_duration_ms',
];

/** Columns of the projections of `sessions`, besides the start. */
const PROJECTED = {
  by_egress: ['egress_port', 'egress_ip'],
  by_destination: ['dest_ip', 'dest_port'],
} as const;

/** The sessions that the filters mean, and where to look for them. */
export function soughtOf(filters: Filters): Sought {
  return {
    table: sessionsTableOf(filters),
    filter: filterOf(filters),
    hasEnds: given(filters).every(
      (name) => ENDED_NAMES.includes(name) && !ENDED_ADDRESS_NAMES.includes(name),
    ),
  };
}

/** The same for a look-up by keys. */
export function lookedUpOf(filters: Filters): LookedUp {
  const table = sessionsTableOf(filters);
  const ended = filterOf(only(filters, (name) => ENDED_NAMES.includes(name)));
  return {
    table,
    filter: filterOf(filters),
    ended: given(filters).some((name) => ENDED_ADDRESS_NAMES.includes(name))
      ? anyOf([{ sql: ENDED_UNKNOWN_SQL, params: {} }, ended])
      : ended,
    address: table === 'sessions' ? addressOf(filters) : null,
    ports: filters.egress_port ?? null,
  };
}

/** The projection of `sessions` that has the starts of these sessions; null if none leaves few of them. */
export function projectionOf(filters: Filters): Projection | null {
  if (filters.egress_port !== undefined) return 'by_egress';
  // A range of addresses may hold all.
  const isOne = (text: string) => text !== '' && !text.includes('/');
  return filters.dest_ip?.every(isOne) === true ? 'by_destination' : null;
}

/** The filters that a projection has columns for. */
function addressOf(filters: Filters): Condition | null {
  const projection = projectionOf(filters);
  if (projection === null) return null;
  const names: readonly FilterName[] = PROJECTED[projection];
  return filterOf(only(filters, (name) => names.includes(name)));
}

/** Whether the table of traffic has the column. */
const isTraffic = (name: FilterName) =>
  FILTER_FIELDS.some((field) => field === name && fieldOf(field).traffic === true);

/** The filters that the table of traffic has columns for, and whether these are all. */
export function trafficFilterOf(filters: Filters): { filter: Condition; isWhole: boolean } {
  return {
    filter: filterOf(only(filters, isTraffic)),
    isWhole: given(filters).every(isTraffic),
  };
}

/** The dimension whose keys are the values of a filter; null if sums by it do not count alike, or do not exist. */
function dimensionOf(name: FilterName): Dimension | null {
  return DIMENSIONS.find((each) => keyColumn(each) === name && !countsAtEnd(each)) ?? null;
}

const PAIR_NAMES: readonly string[] = PAIR_COLUMNS;
const PAIR_DIMENSIONS: readonly SumsBy[] = ['total', 'user', 'destination', 'port', 'flow'];

/** The rollup that can answer by this dimension under these filters; null if only the exact tables can. */
export function rollupSourceOf(by: SumsBy, filters: Filters): RollupSource | null {
  if (isAddress(by)) return null;
  const names = given(filters);
  const [name] = names;
  if (by !== 'flow') {
    if (name === undefined) return { kind: 'dimension', dimension: by, keys: null };
    const filtered = dimensionOf(name);
    const keys = names.length === 1 ? keysOf(filters, name) : null;
    if (filtered !== null && keys !== null && (by === 'total' || by === filtered)) {
      return { kind: 'dimension', dimension: filtered, keys };
    }
  }
  const inPairs = PAIR_DIMENSIONS.includes(by) && names.every((each) => PAIR_NAMES.includes(each));
  return inPairs ? { kind: 'pairs', filter: filterOf(filters) } : null;
}

/** The keys of a rollup that a filter lets pass; null if it is not a list of values. */
function keysOf(filters: Filters, name: FilterName): readonly string[] | null {
  const value = filters[name];
  if (value === undefined) return null;
  const values = (Array.isArray(value) ? value : [value]).map(String);
  const field = FILTER_FIELDS.find((each): each is FilterField => each === name);
  switch (field === undefined ? undefined : fieldOf(field).filter) {
    case 'suffix':
      return values.some(isPattern) ? null : values.map(plainHost);
    case 'cidr': {
      const addresses = values.map((text) => (text === '' ? '' : addressRangeOf(text).only));
      return addresses.every((each) => each !== null) ? addresses : null;
    }
    case 'equals':
    case 'one_of':
      return values;
    case undefined:
      return null;
  }
}
