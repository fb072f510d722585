import type { Session, SessionFilters } from '@sockscope/schemas/api';
import ipaddr from 'ipaddr.js';
import type { Filters } from './filters.js';

/** Filters of live events, with the range of starts. */
export type LiveFilters = Filters & Pick<SessionFilters, 'start_after' | 'start_before'>;

type Test = (session: Session) => boolean;

/**
 * The filters as a function, for events that are not asked of ClickHouse per client. It lets the
 * same sessions pass as the WHERE clause of the same filters; a test holds both to that.
 */
export function passesOf(filters: LiveFilters): Test {
  const tests: Test[] = [];
  for (const name of ['user', 'status', 'close_reason', 'acl_rule_matched', 'proxy_id'] as const) {
    const values: readonly (string | null)[] | undefined = filters[name];
    if (values !== undefined) tests.push((session) => values.includes(session[name]));
  }
  for (const name of ['protocol', 'command', 'acl_decision'] as const) {
    const value = filters[name];
    if (value !== undefined) tests.push((session) => session[name] === value);
  }
  const { dest_host: hosts, dest_port: ports } = filters;
  if (hosts !== undefined) {
    tests.push(
      ({ dest_host: host }) =>
        hosts.exact.includes(host) || hosts.suffixes.some((suffix) => host.endsWith(suffix)),
    );
  }
  if (ports !== undefined) tests.push((session) => ports.includes(session.dest_port));
  for (const name of ['dest_ip', 'source_ip'] as const) {
    const blocks = filters[name];
    if (blocks !== undefined) tests.push(withinBlocks(name, blocks));
  }
  addBounds(tests, filters);
  return (session) => tests.every((test) => test(session));
}

function addBounds(tests: Test[], filters: LiveFilters): void {
  const least = (bound: number | undefined, valueOf: (session: Session) => number) => {
    if (bound !== undefined) tests.push((session) => valueOf(session) >= bound);
  };
  const most = (bound: number | undefined, valueOf: (session: Session) => number) => {
    if (bound !== undefined) tests.push((session) => valueOf(session) <= bound);
  };
  const before = (bound: number | undefined) => {
    if (bound !== undefined) tests.push((session) => Date.parse(session.started_at) < bound);
  };
  least(filters.start_after, (session) => Date.parse(session.started_at));
  before(filters.start_before);
  before(filters.overlap_before);
  least(filters.overlap_after, (session) =>
    session.ended_at === null ? Infinity : Date.parse(session.ended_at),
  );
  const seconds = (value: number | undefined) =>
    value === undefined ? undefined : Math.round(value * 1_000);
  least(seconds(filters.min_duration_secs), durationOf);
  most(seconds(filters.max_duration_secs), durationOf);
  least(filters.min_bytes, bytesOf);
  most(filters.max_bytes, bytesOf);
}

function durationOf(session: Session): number {
  return session.duration_ms ?? Date.parse(session.updated_at) - Date.parse(session.started_at);
}

function bytesOf(session: Session): number {
  return session.bytes_sent + session.bytes_received;
}

function withinBlocks(name: 'dest_ip' | 'source_ip', blocks: readonly string[]): Test {
  const ranges = blocks.map((block) => {
    const [base = '', prefix] = block.split('/');
    const parsed = ipaddr.parse(base);
    const isV4 = parsed.kind() === 'ipv4';
    const bits = prefix === undefined ? 128 : Number(prefix) + (isV4 ? 96 : 0);
    return { base: mapped(parsed), bits };
  });
  return (session) => {
    const ip = session[name];
    if (ip === null || !ipaddr.isValid(ip)) return false;
    const address = mapped(ipaddr.parse(ip));
    return ranges.some(({ base, bits }) => address.match(base, bits));
  };
}

/** As stored: IPv4 mapped into IPv6. */
function mapped(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv6 {
  return address.kind() === 'ipv4'
    ? (address as ipaddr.IPv4).toIPv4MappedAddress()
    : (address as ipaddr.IPv6);
}
