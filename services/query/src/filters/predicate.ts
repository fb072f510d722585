import { fieldOf, FILTER_FIELDS } from '@sockscope/schemas';
import type { FilterField } from '@sockscope/schemas';
import { BOUND_NAMES, BOUNDS } from '@sockscope/schemas/api';
import type { Session } from '@sockscope/schemas/api';
import ipaddr from 'ipaddr.js';
import { mapped, MAPPED_BITS, parsedAddress } from './addresses.js';
import type { Filters } from './filters.js';
import { isPattern, plainHost } from './hosts.js';

type Test = (session: Session) => boolean;

/** A session with names as they are stored: they are compared, not shown. */
export type Predicate = (session: object) => boolean;

/**
 * The filters as a function, for events that are not asked of ClickHouse per client. It lets the
 * same sessions pass as the WHERE clause of the same filters; a test holds both to that.
 */
export function predicateOf(filters: Filters): Predicate {
  const tests: Test[] = FILTER_FIELDS.flatMap((name) => {
    const value = filters[name];
    if (value === undefined) return [];
    return [testOf(name, Array.isArray(value) ? value : [value])];
  });
  for (const name of BOUND_NAMES) {
    const bound = filters[name];
    if (bound === undefined) continue;
    const { of, end } = BOUNDS[name];
    const measured = of === 'bytes' ? bytesOf : durationOf;
    tests.push((session) =>
      end === 'least' ? measured(session) >= bound : measured(session) <= bound,
    );
  }
  return (session) => tests.every((test) => test(session as Session));
}

function testOf(name: FilterField, values: readonly (string | number)[]): Test {
  const { filter, value } = fieldOf(name);
  const takesNull = value.nullable === true && values.includes('');
  const named = value.nullable === true ? values.filter((each) => each !== '') : values;
  const test = namedTest(filter, named);
  return (session) => {
    const { [name]: found } = session;
    return found === null ? takesNull : test(found);
  };
}

function namedTest(
  filter: 'equals' | 'one_of' | 'suffix' | 'cidr' | undefined,
  values: readonly (string | number)[],
): (found: string | number) => boolean {
  switch (filter) {
    case 'cidr':
      return withinBlocks(values.map(String));
    case 'suffix': {
      const suffixes = values.map(String).filter(isPattern);
      const exact: unknown[] = values
        .map(String)
        .filter((text) => !isPattern(text))
        .map(plainHost);
      return (found) =>
        exact.includes(found) || suffixes.some((suffix) => String(found).endsWith(suffix.slice(1)));
    }
    case 'equals':
    case 'one_of':
    case undefined:
      return (found) => values.includes(found);
  }
}

function durationOf(session: Session): number {
  return session.duration_ms ?? Date.parse(session.updated_at) - Date.parse(session.started_at);
}

function bytesOf(session: Session): number {
  return session.bytes_sent + session.bytes_received;
}

function withinBlocks(blocks: readonly string[]): (found: string | number) => boolean {
  const ranges = blocks.map((block) => {
    const [base = '', prefix] = block.split('/');
    const parsed = parsedAddress(base);
    const isV4 = parsed.kind() === 'ipv4';
    const bits = prefix === undefined ? 128 : Number(prefix) + (isV4 ? MAPPED_BITS : 0);
    return { base: mapped(parsed), bits };
  });
  return (found) => {
    const ip = String(found);
    if (!ipaddr.isValid(ip)) return false;
    const address = mapped(parsedAddress(ip));
    const isV4 = address.isIPv4MappedAddress();
    return ranges.some(
      ({ base, bits }) => address.match(base, bits) && !(isV4 && bits < MAPPED_BITS),
    );
  };
}
