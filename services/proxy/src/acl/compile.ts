import { setImmediate as turn } from 'node:timers/promises';
import { COMMANDS, PROTOCOLS } from '@sockscope/schemas';
import { canonicalHost, parseIp, sameIp } from '@sockscope/schemas/net';
import type { IpAddress, Prefix } from '@sockscope/schemas/net';
import type { AclRequest, AclVerdict } from './acl.js';
import type { OwnEndpoints } from './own-endpoints.js';
import { facesOf, protectedRangeAround, protectedRangeOf } from './protection.js';
import type { ProtectedRange } from './protection.js';
import { bitsWhere, RuleSet, setBit, wordsFor } from './rule-set.js';
import type { RuleBits } from './rule-set.js';
import {
  addBlocks,
  addSuffixes,
  BlockCollector,
  blocksOfRange,
  Collector,
  FamilyIndex,
  isStep,
  portKey,
  sameSet,
} from './rule-tables.js';
import type { Steps } from './rule-tables.js';
import { PROTECTION_PREFIX } from './rules.js';
import type { AclPolicy, AclRule, Liftable } from './rules.js';
import { localTimeOf, minuteIndex, windowHolds } from './time-windows.js';

/** What a block of addresses stands for: its rules, and the protected range that it names. */
interface DestinationBlock {
  readonly rules: RuleSet;
  readonly names: ProtectedRange | null;
  /** Whether it is one address. */
  readonly isHost: boolean;
}

const rulesOfBlock = (block: DestinationBlock): RuleSet => block.rules;

const PROTECTED_VERDICTS = new Map<string, AclVerdict>();

function protectedVerdict(what: string): AclVerdict {
  let verdict = PROTECTED_VERDICTS.get(what);
  if (verdict === undefined) {
    verdict = { decision: 'block', rule: `${PROTECTION_PREFIX}${what}` };
    PROTECTED_VERDICTS.set(what, verdict);
  }
  return verdict;
}

const PROVISIONAL: AclVerdict = { decision: 'allow', rule: null };

/**
 * Whether an unspecified address may stand for "not known yet": BIND names a peer that is still
 * to come, UDP ASSOCIATE has no destination. A datagram to it with a port would reach this machine.
 */
function isUnknownYet({ command, dest_port }: AclRequest): boolean {
  return command === 'bind' || (command === 'udp_associate' && dest_port === 0);
}

/** A rule that was found; -1 is the default decision. */
interface Found {
  rule: number;
  /** Whether an earlier rule could allow the request once the missing part is known. */
  mayAllow: boolean;
  /** Whether an earlier rule could decide at all once the missing part is known. */
  mayDecide: boolean;
}

/** Decides by rules in which everything has been looked up beforehand. */
export interface CompiledAcl {
  decide(request: AclRequest): AclVerdict;
  /** Changes when a time window opens or closes. */
  timeSignature(nowMs: number): string;
}

/**
 * Compiles a policy. Every condition becomes a table from what it looks at to the set of rules
 * for which it holds; the first rule in the intersection of these sets decides. The cost is a
 * few look-ups and one pass over a bit per rule, for any rules.
 */
export function compileAcl(policy: AclPolicy, own: OwnEndpoints): CompiledAcl {
  const steps = compileSteps(policy, own);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** How long compiling may hold up the event loop at a time. */
const SLICE_MS = 4;

/** The same, giving the event loop back every few milliseconds: a large policy takes half a second. */
export async function compileAclInSlices(
  policy: AclPolicy,
  own: OwnEndpoints,
): Promise<CompiledAcl> {
  const steps = compileSteps(policy, own);
  for (;;) {
    const startedMs = performance.now();
    do {
      const { done, value } = steps.next();
      if (done === true) return value;
    } while (performance.now() - startedMs < SLICE_MS);
    // One slice after the other is the point.
    await turn();
  }
}

function* compileSteps(policy: AclPolicy, own: OwnEndpoints): Steps<CompiledAcl> {
  const { rules } = policy;
  const count = rules.length;
  const words = wordsFor(count);
  const bits = (holds: (rule: AclRule) => boolean): RuleBits =>
    bitsWhere(count, (number) => {
      const rule = rules[number];
      return rule !== undefined && holds(rule);
    });

  const anyone = bits((rule) => rule.users === null && rule.groups === null);
  const users = new Collector<string>();
  const groups = new Collector<string>();
  const exactNames = new Collector<string>();
  const suffixes = new Collector<string>();
  const ports = new BlockCollector();
  let maxSuffixLabels = 0;
  for (const [number, rule] of rules.entries()) {
    for (const user of rule.users ?? []) users.add(user, number);
    for (const group of rule.groups ?? []) groups.add(group, number);
    for (const destination of rule.destinations ?? []) {
      if (destination.kind === 'name') exactNames.add(destination.name, number);
      if (destination.kind === 'suffix') {
        suffixes.add(destination.suffix, number);
        maxSuffixLabels = Math.max(maxSuffixLabels, destination.suffix.split('.').length);
      }
    }
    for (const range of rule.ports ?? []) {
      for (const block of blocksOfRange(range)) ports.add(block, number);
    }
    if (isStep(number)) yield;
  }
  const userSets = yield* users.sets(count);
  const groupSets = yield* groups.sets(count);
  const nameSets = yield* exactNames.sets(count);
  const suffixSets = yield* suffixes.sets(count);
  const prefixesOf = (rule: AclRule): readonly Prefix[] =>
    (rule.destinations ?? []).flatMap((d) => (d.kind === 'prefix' ? [d.prefix] : []));
  const setOf = (_prefix: Prefix, members: readonly number[]): RuleSet =>
    new RuleSet(count, members);

  const anySource = bits((rule) => rule.sources === null);
  const sourceIndex = yield* FamilyIndex.build(rules, (rule) => rule.sources ?? [], setOf);
  const anyDestination = bits((rule) => rule.destinations === null);
  const destinationIndex = yield* FamilyIndex.build<DestinationBlock>(
    rules,
    prefixesOf,
    (prefix, members) => ({
      rules: setOf(prefix, members),
      names: protectedRangeAround(prefix),
      isHost: prefix.length === prefix.ip.bits,
    }),
  );
  yield;
  const withAddresses = bits((rule) => prefixesOf(rule).length > 0);
  const withDestinations = bits((rule) => rule.destinations !== null);
  const blocking = bits((rule) => rule.action === 'block');
  const anyPort = bits((rule) => rule.ports === null);
  const withPorts = bits((rule) => rule.ports !== null);
  yield;
  const portIndex = yield* ports.index(1, setOf);
  yield;
  const byKind = new Map(
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
  );

  yield;
  const verdicts = rules.map((rule): AclVerdict => ({ decision: rule.action, rule: rule.name }));
  const defaultVerdict: AclVerdict = { decision: policy.default, rule: null };
  const lifts = rules.map((rule): ReadonlySet<Liftable> => new Set(rule.allowInto));
  const timed = rules.flatMap((rule, number) => (rule.times === null ? [] : [{ rule, number }]));

  // Decisions are synchronous, so one set of scratch space serves them all.
  const whoBits = new Int32Array(words);
  const sourceBits = new Int32Array(words);
  const destinationBits = new Int32Array(words);
  const hiddenBits = new Int32Array(words);
  const portBits = new Int32Array(words);
  const nothing = new Int32Array(words);
  const found: Found = { rule: -1, mayAllow: false, mayDecide: false };

  let timeBits = bits(() => true);
  let timeMinute = Number.NaN;

  /** Windows open and close on full minutes only, so this is worked out once a minute. */
  function timeBitsAt(nowMs: number): RuleBits {
    const minute = minuteIndex(nowMs);
    if (minute === timeMinute || timed.length === 0) return timeBits;
    timeMinute = minute;
    timeBits = bits((rule) => rule.times === null);
    for (const { rule, number } of timed) {
      const isOpen = rule.times?.some((w) => windowHolds(w, localTimeOf(nowMs, w.timeZone)));
      if (isOpen === true) setBit(timeBits, number);
    }
    return timeBits;
  }

  function fillWho(request: AclRequest): void {
    whoBits.set(anyone);
    userSets.get(request.user)?.addTo(whoBits);
    if (groupSets.size === 0) return;
    for (const group of request.groups) groupSets.get(group)?.addTo(whoBits);
  }

  function addName(name: string, target: RuleBits): void {
    nameSets.get(name)?.addTo(target);
    addSuffixes(suffixSets, maxSuffixLabels, name, target);
  }

  function fillDestination(
    name: string | null,
    resolvedName: string | null,
    faces: readonly IpAddress[],
  ): void {
    destinationBits.set(anyDestination);
    if (name !== null) addName(name, destinationBits);
    const [self, ...hidden] = faces;
    if (self !== undefined) {
      addBlocks(destinationIndex.of(self), self.words, rulesOfBlock, destinationBits);
    }
    if (hidden.length === 0 && resolvedName === null) return;
    // What is behind the destination that was asked for: a block must reach it, an allow must not.
    hiddenBits.fill(0);
    if (resolvedName !== null) addName(resolvedName, hiddenBits);
    for (const ip of hidden) {
      addBlocks(destinationIndex.of(ip), ip.words, rulesOfBlock, hiddenBits);
    }
    for (let i = 0; i < words; i += 1) {
      destinationBits[i] = (destinationBits[i] ?? 0) | ((hiddenBits[i] ?? 0) & (blocking[i] ?? 0));
    }
  }

  /** Walks the rules that hold, or may hold, up to the first that holds for certain. */
  function findFirst(request: AclRequest, destinationMaybe: RuleBits, portMaybe: RuleBits): Found {
    const kind = byKind.get(`${request.protocol} ${request.command}`) ?? nothing;
    const time = timeBitsAt(request.nowMs);
    found.rule = -1;
    found.mayAllow = false;
    found.mayDecide = false;
    for (let i = 0; i < words; i += 1) {
      const destination = destinationBits[i] ?? 0;
      const port = portBits[i] ?? 0;
      let possible =
        (whoBits[i] ?? 0) &
        (sourceBits[i] ?? 0) &
        (kind[i] ?? 0) &
        (time[i] ?? 0) &
        (destination | (destinationMaybe[i] ?? 0)) &
        (port | (portMaybe[i] ?? 0));
      while (possible !== 0) {
        const lowest = possible & -possible;
        const rule = i * 32 + 31 - Math.clz32(lowest);
        if ((destination & port & lowest) !== 0) {
          found.rule = rule;
          return found;
        }
        found.mayDecide = true;
        if (((blocking[i] ?? 0) & lowest) === 0) found.mayAllow = true;
        possible ^= lowest;
      }
    }
    return found;
  }

  /** Whether a block of the rule that holds the address is named, or not, as `isNamed` asks. */
  function names(rule: number, ip: IpAddress, isNamed: (block: DestinationBlock) => boolean) {
    if (rule < 0) return false;
    const index = destinationIndex.of(ip);
    for (let at = index.first(ip.words); at >= 0; at = index.next(at)) {
      const block = index.valueAt(at);
      if (isNamed(block) && block.rules.has(rule)) return true;
    }
    return false;
  }

  /** What protects an address that the rule neither names nor lifts; null if nothing does. */
  function protectorOf(rule: number, ip: IpAddress): Liftable | null {
    const isLifted = (what: Liftable): boolean => lifts[rule]?.has(what) === true;
    const range = protectedRangeOf(ip);
    if (range !== null && !isLifted(range.class)) {
      if (!names(rule, ip, (block) => block.names === range)) return range.class;
    }
    if (!own.isThisMachine(ip) || isLifted('this_machine')) return null;
    return names(rule, ip, (block) => block.isHost) ? null : 'this_machine';
  }

  function protectionOf(
    rule: number,
    name: string | null,
    faces: readonly IpAddress[],
    port: number,
  ): AclVerdict | null {
    if (lifts[rule]?.has('own_ports') !== true) {
      const isOwn =
        (name !== null && own.coversName(name, port)) || faces.some((ip) => own.coversIp(ip, port));
      if (isOwn) return protectedVerdict('own_ports');
    }
    for (const ip of faces) {
      const what = protectorOf(rule, ip);
      if (what !== null) return protectedVerdict(what);
    }
    return null;
  }

  return {
    decide(request) {
      // An IPv6 address is read here: its canonical text would cost as much as all the rest.
      const address = request.dest_host.includes(':') ? parseIp(request.dest_host) : null;
      const host = address === null ? canonicalHost(request.dest_host) : null;
      if (host?.kind === 'invalid') return protectedVerdict('invalid_name');
      const source = parseIp(request.source_ip);
      if (source === null) return protectedVerdict('invalid_source');
      const resolved = request.dest_ip === null ? null : parseIp(request.dest_ip);
      const name = host?.kind === 'name' ? host.text : null;
      const asked = host?.kind === 'ip' ? host.ip : address;
      if (
        request.dest_ip !== null &&
        (resolved === null || (asked !== null && !sameIp(asked, resolved)))
      ) {
        return protectedVerdict('invalid_address');
      }
      const isOpen = isUnknownYet(request) && asked?.words.every((word) => word === 0) === true;
      const ip = isOpen ? null : (resolved ?? asked);
      const faces = ip === null ? [] : facesOf(ip);
      const isPortOpen = isOpen && request.dest_port === 0;

      fillWho(request);
      sourceBits.set(anySource);
      addBlocks(sourceIndex.of(source), source.words, sameSet, sourceBits);
      fillDestination(name, name === null ? null : (request.resolved_name ?? null), faces);
      portBits.set(anyPort);
      if (!isPortOpen) addBlocks(portIndex, [portKey(request.dest_port)], sameSet, portBits);
      const destinationMaybe = ip !== null ? nothing : isOpen ? withDestinations : withAddresses;
      const { rule, mayAllow, mayDecide } = findFirst(
        request,
        destinationMaybe,
        isPortOpen ? withPorts : nothing,
      );

      const verdict = verdicts[rule] ?? defaultVerdict;
      if (verdict.decision === 'block') return mayAllow ? PROVISIONAL : verdict;
      if (mayDecide) return PROVISIONAL;
      return protectionOf(rule, name, faces, request.dest_port) ?? verdict;
    },
    timeSignature(nowMs) {
      return timed.length === 0 ? '' : timeBitsAt(nowMs).join(',');
    },
  };
}
