import { canonicalHost, parseIp, sameIp } from '@sockscope/schemas/net';
import type { IpAddress } from '@sockscope/schemas/net';
import type { AclRequest, AclVerdict } from './acl.js';
import { liftBit } from './compile.js';
import type { AclTables, DestinationTable } from './compile.js';
import type { OwnEndpoints } from './own-endpoints.js';
import { firstAround, isHost, nextAround } from './prefix-index.js';
import { facesOf, protectedRangeOf, rangeNumberOf } from './protection.js';
import { addSet, hasBit, setHas } from './rule-set.js';
import type { RuleBits } from './rule-set.js';
import { LIFTABLE, PROTECTION_PREFIX } from './rules.js';
import type { Liftable } from './rules.js';
import { addBlocks, addName, addSuffixes, ofFamily, portKey } from './tables.js';
import { localTimeOf, minuteIndex, windowHolds } from './time-windows.js';

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

const LIFT_BITS: ReadonlyMap<Liftable, number> = new Map(
  LIFTABLE.map((what) => [what, liftBit(what)]),
);

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

/** Decides by compiled rules. */
export interface Decider {
  decide(request: AclRequest): AclVerdict;
  /** Changes when a time window opens or closes. */
  timeSignature(nowMs: number): string;
}

/**
 * Decides by the tables of a policy: the first rule in the intersection of the sets that they give
 * for a request. The cost is a few look-ups and one pass over a bit per rule.
 */
export function createDecider(tables: AclTables, own: OwnEndpoints): Decider {
  const { blocking, destinations } = tables;
  const words = blocking.length;

  // Decisions are synchronous, so one set of scratch space serves them all.
  const whoBits = new Int32Array(words);
  const sourceBits = new Int32Array(words);
  const destinationBits = new Int32Array(words);
  const hiddenBits = new Int32Array(words);
  const portBits = new Int32Array(words);
  const nothing = new Int32Array(words);
  const found: Found = { rule: -1, mayAllow: false, mayDecide: false };
  const defaultVerdict: AclVerdict = { decision: tables.default, rule: null };
  /** Verdicts of rules that have decided, kept to be used again. */
  const verdicts = new Map<number, AclVerdict>();

  const timeBits = new Int32Array(words);
  let timeMinute = Number.NaN;

  /** Windows open and close on full minutes only, so this is worked out once a minute. */
  function timeBitsAt(nowMs: number): RuleBits {
    const minute = minuteIndex(nowMs);
    if (minute === timeMinute) return timeBits;
    timeMinute = minute;
    timeBits.set(tables.always);
    for (const [number, window] of tables.windows.entries()) {
      if (windowHolds(window, localTimeOf(nowMs, window.timeZone))) {
        addSet(tables.windowSets, number, timeBits);
      }
    }
    return timeBits;
  }

  function verdictOf(rule: number): AclVerdict {
    if (rule < 0) return defaultVerdict;
    let verdict = verdicts.get(rule);
    if (verdict === undefined) {
      const decision = hasBit(blocking, rule) ? 'block' : 'allow';
      verdict = { decision, rule: tables.names[rule] ?? null };
      verdicts.set(rule, verdict);
    }
    return verdict;
  }

  function fillWho(request: AclRequest): void {
    whoBits.set(tables.anyone);
    addName(tables.users, request.user, whoBits);
    for (const group of request.groups) addName(tables.groups, group, whoBits);
  }

  function addNameAndSuffixes(name: string, target: RuleBits): void {
    addName(tables.exactNames, name, target);
    addSuffixes(tables.suffixes, tables.suffixLabelsMax, name, target);
  }

  function fillDestination(
    name: string | null,
    resolvedName: string | null,
    faces: readonly IpAddress[],
  ): void {
    destinationBits.set(tables.anyDestination);
    if (name !== null) addNameAndSuffixes(name, destinationBits);
    const [self, ...hidden] = faces;
    if (self !== undefined) addBlocks(ofFamily(destinations, self), self.words, destinationBits);
    if (hidden.length === 0 && resolvedName === null) return;
    // The address behind the requested destination: a block must reach it, an allow must not.
    hiddenBits.fill(0);
    if (resolvedName !== null) addNameAndSuffixes(resolvedName, hiddenBits);
    for (const ip of hidden) addBlocks(ofFamily(destinations, ip), ip.words, hiddenBits);
    for (let i = 0; i < words; i += 1) {
      destinationBits[i] = (destinationBits[i] ?? 0) | ((hiddenBits[i] ?? 0) & (blocking[i] ?? 0));
    }
  }

  /** Walks the rules that hold, or may hold, up to the first that holds for certain. */
  function findFirst(request: AclRequest, destinationMaybe: RuleBits, portMaybe: RuleBits): Found {
    const kind = tables.kinds.get(`${request.protocol} ${request.command}`) ?? nothing;
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
  function names(
    rule: number,
    ip: IpAddress,
    isNamed: (table: DestinationTable, at: number) => boolean,
  ): boolean {
    if (rule < 0) return false;
    const table = ofFamily(destinations, ip);
    for (let at = firstAround(table.blocks, ip.words); at >= 0; at = nextAround(table.blocks, at)) {
      if (isNamed(table, at) && setHas(table.sets, at, rule)) return true;
    }
    return false;
  }

  function isLifted(rule: number, what: Liftable): boolean {
    return ((tables.lifts[rule] ?? 0) & (LIFT_BITS.get(what) ?? 0)) !== 0;
  }

  /** The protection of an address that the rule neither names nor lifts; null if there is none. */
  function protectorOf(rule: number, ip: IpAddress): Liftable | null {
    const range = protectedRangeOf(ip);
    if (range !== null && !isLifted(rule, range.class)) {
      const number = rangeNumberOf(range);
      if (!names(rule, ip, ({ ranges }, at) => ranges[at] === number)) return range.class;
    }
    if (!own.isThisMachine(ip) || isLifted(rule, 'this_machine')) return null;
    return names(rule, ip, ({ blocks }, at) => isHost(blocks, at)) ? null : 'this_machine';
  }

  function protectionOf(
    rule: number,
    name: string | null,
    faces: readonly IpAddress[],
    port: number,
  ): AclVerdict | null {
    if (!isLifted(rule, 'own_ports')) {
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
      const requestedIp = host?.kind === 'ip' ? host.ip : address;
      if (
        request.dest_ip !== null &&
        (resolved === null || (requestedIp !== null && !sameIp(requestedIp, resolved)))
      ) {
        return protectedVerdict('invalid_address');
      }
      const isOpen =
        isUnknownYet(request) && requestedIp?.words.every((word) => word === 0) === true;
      const ip = isOpen ? null : (resolved ?? requestedIp);
      const faces = ip === null ? [] : facesOf(ip);
      const isPortOpen = isOpen && request.dest_port === 0;

      fillWho(request);
      sourceBits.set(tables.anySource);
      addBlocks(ofFamily(tables.sources, source), source.words, sourceBits);
      fillDestination(name, name === null ? null : (request.resolved_name ?? null), faces);
      portBits.set(tables.anyPort);
      if (!isPortOpen) addBlocks(tables.ports, [portKey(request.dest_port)], portBits);
      const destinationMaybe =
        ip !== null ? nothing : isOpen ? tables.withDestinations : tables.withAddresses;
      const { rule, mayAllow, mayDecide } = findFirst(
        request,
        destinationMaybe,
        isPortOpen ? tables.withPorts : nothing,
      );

      const verdict = verdictOf(rule);
      if (verdict.decision === 'block') return mayAllow ? PROVISIONAL : verdict;
      if (mayDecide) return PROVISIONAL;
      return protectionOf(rule, name, faces, request.dest_port) ?? verdict;
    },
    timeSignature(nowMs) {
      return tables.windows.length === 0 ? '' : timeBitsAt(nowMs).join(',');
    },
  };
}
