import { COMMANDS, PROTOCOLS } from '@sockscope/schemas';
import type { Prefix } from '@sockscope/schemas/net';
import { protectedRangeAround, rangeNumberOf } from './protection.js';
import { bitsWhere } from './rule-set.js';
import type { RuleBits, RuleSets } from './rule-set.js';
import { LIFTABLE } from './rules.js';
import type { AclPolicy, AclRule, Liftable } from './rules.js';
import { BlockCollector, blocksOfRange, Collector, createNameTable } from './tables.js';
import type { BlockTable, NameTable, OfFamily } from './tables.js';
import type { TimeWindow } from './time-windows.js';

/** Blocks of destinations, with the protected range that each names. */
export interface DestinationTable extends BlockTable {
  /** Number of the range, -1 for none; by position. */
  readonly ranges: Int32Array;
}

/**
 * A policy in which everything has been looked up beforehand: every condition is a table from its
 * input to the set of rules for which it holds. Plain data, nearly all of it in typed arrays, so
 * that a thread hands it over in no time.
 */
export interface AclTables {
  readonly rules: number;
  readonly default: AclPolicy['default'];
  readonly names: readonly string[];
  /** Bits of each rule, one for each of LIFTABLE. */
  readonly lifts: Uint16Array;
  readonly blocking: RuleBits;

  readonly anyone: RuleBits;
  readonly users: NameTable;
  readonly groups: NameTable;

  readonly anySource: RuleBits;
  readonly sources: OfFamily<BlockTable>;

  readonly anyDestination: RuleBits;
  readonly withDestinations: RuleBits;
  readonly withAddresses: RuleBits;
  readonly exactNames: NameTable;
  readonly suffixes: NameTable;
  /** Labels of the longest suffix. */
  readonly suffixLabelsMax: number;
  readonly destinations: OfFamily<DestinationTable>;

  readonly anyPort: RuleBits;
  readonly withPorts: RuleBits;
  readonly ports: BlockTable;

  /** Rules by `protocol command`. */
  readonly kinds: ReadonlyMap<string, RuleBits>;

  readonly always: RuleBits;
  readonly windows: readonly TimeWindow[];
  readonly windowSets: RuleSets;
}

export function liftBit(what: Liftable): number {
  return 1 << LIFTABLE.indexOf(what);
}

function prefixesOf(rule: AclRule): readonly Prefix[] {
  return (rule.destinations ?? []).flatMap((d) => (d.kind === 'prefix' ? [d.prefix] : []));
}

/** Compiles a policy. A large one takes half a second. */
export function compileAcl(policy: AclPolicy): AclTables {
  const { rules } = policy;
  const count = rules.length;
  const bits = (holds: (rule: AclRule) => boolean): RuleBits =>
    bitsWhere(count, (number) => {
      const rule = rules[number];
      return rule !== undefined && holds(rule);
    });
  const blocksOf = (prefixes: (rule: AclRule) => readonly Prefix[]) => {
    const [v4, v6] = [new BlockCollector(), new BlockCollector()];
    for (const [number, rule] of rules.entries()) {
      for (const prefix of prefixes(rule)) (prefix.ip.bits === 32 ? v4 : v6).add(prefix, number);
    }
    return { v4: v4.table(1, count), v6: v6.table(4, count) };
  };

  const users = new Collector<string>();
  const groups = new Collector<string>();
  const exactNames = new Collector<string>();
  const suffixes = new Collector<string>();
  const ports = new BlockCollector();
  const windows = new Collector<string>();
  let suffixLabelsMax = 0;
  for (const [number, rule] of rules.entries()) {
    for (const user of rule.users ?? []) users.add(user, number);
    for (const group of rule.groups ?? []) groups.add(group, number);
    for (const destination of rule.destinations ?? []) {
      if (destination.kind === 'name') exactNames.add(destination.name, number);
      if (destination.kind === 'suffix') {
        suffixes.add(destination.suffix, number);
        suffixLabelsMax = Math.max(suffixLabelsMax, destination.suffix.split('.').length);
      }
    }
    for (const range of rule.ports ?? []) {
      for (const block of blocksOfRange(range)) ports.add(block, number);
    }
    // Most rules share a few windows, such as office hours.
    for (const window of rule.times ?? []) windows.add(JSON.stringify(window), number);
  }
  const sources = blocksOf((rule) => rule.sources ?? []);
  const destinations = blocksOf(prefixesOf);

  return {
    rules: count,
    default: policy.default,
    names: rules.map((rule) => rule.name),
    lifts: Uint16Array.from(rules, (rule) =>
      rule.allowInto.reduce((lifted, what) => lifted | liftBit(what), 0),
    ),
    blocking: bits((rule) => rule.action === 'block'),
    anyone: bits((rule) => rule.users === null && rule.groups === null),
    users: createNameTable(users, count),
    groups: createNameTable(groups, count),
    anySource: bits((rule) => rule.sources === null),
    sources: { v4: plain(sources.v4), v6: plain(sources.v6) },
    anyDestination: bits((rule) => rule.destinations === null),
    withDestinations: bits((rule) => rule.destinations !== null),
    withAddresses: bits((rule) => prefixesOf(rule).length > 0),
    exactNames: createNameTable(exactNames, count),
    suffixes: createNameTable(suffixes, count),
    suffixLabelsMax,
    destinations: { v4: withRanges(destinations.v4), v6: withRanges(destinations.v6) },
    anyPort: bits((rule) => rule.ports === null),
    withPorts: bits((rule) => rule.ports !== null),
    ports: plain(ports.table(1, count)),
    kinds: new Map(
      PROTOCOLS.flatMap((protocol) =>
        COMMANDS.map((command) => [
          `${protocol} ${command}`,
          bits(
            (rule) =>
              rule.protocols?.includes(protocol) !== false &&
              rule.commands?.includes(command) !== false,
          ),
        ]),
      ),
    ),
    always: bits((rule) => rule.times === null),
    windows: windows.keys().map((text) => JSON.parse(text) as TimeWindow),
    windowSets: windows.sets(count),
  };
}

type Collected = ReturnType<BlockCollector['table']>;

function plain({ blocks, sets }: Collected): BlockTable {
  return { blocks, sets };
}

function withRanges({ blocks, sets, prefixes }: Collected): DestinationTable {
  const ranges = Int32Array.from(prefixes, (prefix) => rangeNumberOf(protectedRangeAround(prefix)));
  return { blocks, sets, ranges };
}
