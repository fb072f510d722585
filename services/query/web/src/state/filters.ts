/** The filters of the page: the API's own parameters, kept in the address. */
import { computed } from '@preact/signals';
import { unparse } from '../grammar/grammar.js';
import { change, params, range, zone } from './location.js';
import { rangeParams } from './range.js';

/** Plain filters that several values may be given for. */
export const FIELDS: ReadonlySet<string> = new Set([
  'user',
  'dest_host',
  'dest_ip',
  'dest_port',
  'source_ip',
  'egress_ip',
  'protocol',
  'command',
  'status',
  'close_reason',
  'acl_decision',
  'acl_rule_matched',
  'proxy_id',
]);
/** Filters that compare. */
const COMPARED = ['min_bytes', 'max_bytes', 'min_duration_ms', 'max_duration_ms'] as const;

export type FilterEntry = readonly [name: string, value: string];

/** The filters of the address, in its order. */
export const filters = computed<readonly FilterEntry[]>(() =>
  [...params.value].filter(
    ([name]) => FIELDS.has(name) || (COMPARED as readonly string[]).includes(name),
  ),
);

/** The filters as a text of the grammar; null without any. */
export const filterText = computed(() => {
  const byName = new Map<string, string[]>();
  for (const [name, value] of filters.value) byName.set(name, [...(byName.get(name) ?? []), value]);
  return byName.size === 0 ? null : unparse(byName, FIELDS);
});

/** The parameters of every question of a page: its range, its zone and its filters. */
export const question = computed<readonly FilterEntry[]>(() => [
  ...Object.entries(rangeParams(range.value)),
  ['time_zone', zone.value],
  ...filters.value,
]);

/**
 * The filter that lets exactly this value pass: a client may have asked for a host that looks like a pattern. As
 * `exactHost` of the service writes it.
 */
export function exactly(name: string, value: string): FilterEntry {
  return [name, name === 'dest_host' && /^\\*\*/.test(value) ? `\\${value}` : value];
}

/** Adds a filter, as a click on a value does. */
export function addFilter(name: string, value: string): void {
  const values = params.value.getAll(name);
  const [, exact] = exactly(name, value);
  if (!values.includes(exact)) change({ [name]: [...values, exact] });
}

export function removeFilter(name: string, value: string): void {
  change({ [name]: params.value.getAll(name).filter((each) => each !== value) });
}

export function clearFilters(): void {
  change(Object.fromEntries([...FIELDS, ...COMPARED].map((name) => [name, null])));
}
