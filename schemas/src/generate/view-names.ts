import { COUNTER_NAMES } from '../events/counters.js';
import { fieldOf, namesIn } from '../events/fields.js';
import type { FieldName } from '../events/fields.js';

/** The version is the same in every event that is read, so a view need not hold it. */
const IN_NO_VIEW: FieldName = 'schema_version';

/** Fields that every event has, in their order. */
export const COMMON = namesIn('envelope', 'identity', 'origin', 'header', 'totals');
export const INTERVAL = namesIn('interval');
export const CLOSING = namesIn('closing');

/** Fields of a view. */
export const VIEWED: readonly FieldName[] = [...COMMON, ...INTERVAL, ...CLOSING].filter(
  (name) => name !== IN_NO_VIEW,
);

/** `source_ip` as `sourceIp`. */
export function camel(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** `source_ip` as `SourceIp`. */
export function pascal(name: string): string {
  return camel(`_${name}`);
}

/** `source_ip` as `SOURCE_IP`. */
export function upper(name: string): string {
  return name.toUpperCase();
}

/** Whether an event may lack a value for it. */
export function mayBeAbsent(name: FieldName): boolean {
  const { part, value } = fieldOf(name);
  if (value.kind === 'flag') return false;
  return value.nullable === true || part === 'interval' || part === 'closing';
}

/** The properties of a view that hold a field. */
export function viewNames(name: FieldName): string[] {
  const base = camel(name);
  const { kind, nullable } = fieldOf(name).value;
  switch (kind) {
    case 'text':
      return [`${base}Start`, `${base}Length`];
    case 'uuid':
      return words(base);
    case 'address':
      return nullable === true ? [`has${pascal(name)}`, ...words(base)] : words(base);
    case 'time':
      return [`${base}Ms`];
    case 'choice':
    case 'integer':
    case 'flag':
      return [base];
    case 'counters':
      return COUNTER_NAMES.map((counter) => `${base}${pascal(counter)}`);
  }
}

function words(base: string): string[] {
  return [0, 1, 2, 3].map((i) => `${base}${i}`);
}
