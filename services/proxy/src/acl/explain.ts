import {
  canonicalHost,
  formatIp,
  formatPrefix,
  parseIp,
  prefixHas,
  sameIp,
} from '@sockscope/schemas/net';
import type { IpAddress, Prefix } from '@sockscope/schemas/net';
import type { AclRequest, AclVerdict } from './acl.js';
import type { OwnEndpoints } from './own-endpoints.js';
import { facesOf, protectedRangeAround, protectedRangeOf } from './protection.js';
import { PROTECTION_PREFIX } from './rules.js';
import type { AclPolicy, AclRule, Liftable } from './rules.js';
import { localTimeOf, windowHolds } from './time-windows.js';

/** Whether a condition holds; `maybe` if it depends on the address, which is still unknown. */
type Holds = 'yes' | 'no' | 'maybe';

interface Condition {
  readonly holds: Holds;
  readonly why: string;
}

/** The result of one rule. */
export interface RuleStep {
  readonly rule: AclRule;
  readonly holds: Holds;
  /** The condition that decided, for `no` and `maybe`. */
  readonly why: string;
}

export interface Explanation {
  readonly verdict: AclVerdict;
  /** The destination as the rules see it, or the problem with it. */
  readonly destination: string;
  /** Every rule up to the one that decided. */
  readonly steps: readonly RuleStep[];
  /** One sentence. */
  readonly because: string;
  /** False if the address, once it is known, may still change the verdict. */
  readonly isFinal: boolean;
}

/** The destination, with all known facts. */
interface Subject {
  readonly name: string | null;
  /** The name that a search list made of it; null if there is none. */
  readonly resolvedName: string | null;
  /** Null while unknown. */
  readonly ip: IpAddress | null;
  /** IPv4 addresses inside `ip`. */
  readonly hidden: readonly IpAddress[];
  /** Neither name nor address is known: BIND before its peer has come. */
  readonly isOpen: boolean;
}

function subjectOf(request: AclRequest): Subject | string {
  const host = canonicalHost(request.dest_host);
  if (host.kind === 'invalid') return host.problem;
  const resolved = request.dest_ip === null ? null : parseIp(request.dest_ip);
  if (request.dest_ip !== null && resolved === null) return `${request.dest_ip} is not an address`;
  const requestedIp = host.kind === 'ip' ? host.ip : null;
  if (requestedIp !== null && resolved !== null && !sameIp(requestedIp, resolved)) {
    return `${request.dest_ip} is not the requested address`;
  }
  const ip = resolved ?? requestedIp;
  const mayBeOpen =
    request.command === 'bind' || (request.command === 'udp_associate' && request.dest_port === 0);
  const isOpen =
    mayBeOpen && requestedIp !== null && ['0.0.0.0', '::'].includes(formatIp(requestedIp));
  return {
    name: host.kind === 'name' ? host.text : null,
    resolvedName: host.kind === 'name' ? (request.resolved_name ?? null) : null,
    ip: isOpen ? null : ip,
    hidden: isOpen || ip === null ? [] : facesOf(ip).slice(1),
    isOpen,
  };
}

const YES: Condition = { holds: 'yes', why: '' };
const no = (why: string): Condition => ({ holds: 'no', why });
const maybe = (why: string): Condition => ({ holds: 'maybe', why });

function whoHolds(rule: AclRule, request: AclRequest): Condition {
  if (rule.users === null && rule.groups === null) return YES;
  const isUser = rule.users?.includes(request.user) === true;
  const isMember = rule.groups?.some((group) => request.groups.includes(group)) === true;
  return isUser || isMember ? YES : no('user and groups are not in the rule');
}

function sourceHolds(rule: AclRule, source: IpAddress): Condition {
  if (rule.sources === null) return YES;
  return rule.sources.some((prefix) => prefixHas(prefix, source))
    ? YES
    : no('the source address is in none of its networks');
}

function destinationHolds(rule: AclRule, subject: Subject): Condition {
  if (rule.destinations === null) return YES;
  if (subject.isOpen) return maybe('the peer is not known yet');
  // The address behind the requested destination: a block must reach it, an allow must not.
  const names = [subject.name, rule.action === 'block' ? subject.resolvedName : null];
  let needsAddress = false;
  for (const destination of rule.destinations) {
    switch (destination.kind) {
      case 'name':
        if (names.includes(destination.name)) return YES;
        break;
      case 'suffix':
        if (names.some((name) => name?.endsWith(`.${destination.suffix}`) === true)) return YES;
        break;
      case 'prefix': {
        const { prefix } = destination;
        if (subject.ip === null) needsAddress = true;
        else if (prefixHas(prefix, subject.ip)) return YES;
        if (rule.action === 'block' && subject.hidden.some((ip) => prefixHas(prefix, ip))) {
          return YES;
        }
        break;
      }
    }
  }
  return needsAddress
    ? maybe('it has networks, and the address is not known yet')
    : no('the destination is not in the rule');
}

function portHolds(rule: AclRule, request: AclRequest, subject: Subject): Condition {
  if (rule.ports === null) return YES;
  if (subject.isOpen && request.dest_port === 0) return maybe('the port is not known yet');
  return rule.ports.some(({ from, to }) => from <= request.dest_port && request.dest_port <= to)
    ? YES
    : no('the port is not in the rule');
}

function timeHolds(rule: AclRule, nowMs: number): Condition {
  if (rule.times === null) return YES;
  return rule.times.some((window) => windowHolds(window, localTimeOf(nowMs, window.timeZone)))
    ? YES
    : no('none of its time windows is open');
}

function stepOf(rule: AclRule, request: AclRequest, subject: Subject, source: IpAddress): RuleStep {
  const conditions = [
    whoHolds(rule, request),
    sourceHolds(rule, source),
    rule.protocols?.includes(request.protocol) === false ? no('another protocol') : YES,
    rule.commands?.includes(request.command) === false ? no('another command') : YES,
    timeHolds(rule, request.nowMs),
    portHolds(rule, request, subject),
    destinationHolds(rule, subject),
  ];
  const deciding =
    conditions.find(({ holds }) => holds === 'no') ??
    conditions.find(({ holds }) => holds === 'maybe') ??
    YES;
  return { rule, ...deciding };
}

/**
 * The rule that protects the product or a special address although `rule` allows it; null if none
 * does.
 */
function protectionOf(
  rule: AclRule | null,
  request: AclRequest,
  subject: Subject,
  own: OwnEndpoints,
): { readonly what: Liftable; readonly why: string } | null {
  const faces = subject.ip === null ? [] : [subject.ip, ...subject.hidden];
  const isOwn =
    (subject.name !== null && own.coversName(subject.name, request.dest_port)) ||
    faces.some((ip) => own.coversIp(ip, request.dest_port));
  if (isOwn && rule?.allowInto.includes('own_ports') !== true) {
    return { what: 'own_ports', why: 'it is a port of Sockscope itself' };
  }
  for (const ip of faces) {
    const lifts = rule?.allowInto ?? [];
    const names = (isNamed: (prefix: Prefix) => boolean): boolean =>
      rule?.destinations?.some(
        (destination) =>
          destination.kind === 'prefix' &&
          prefixHas(destination.prefix, ip) &&
          isNamed(destination.prefix),
      ) === true;
    const range = protectedRangeOf(ip);
    if (range !== null && !lifts.includes(range.class)) {
      if (!names((prefix) => protectedRangeAround(prefix) === range)) {
        return {
          what: range.class,
          why: `${formatIp(ip)} is in ${formatPrefix(range.prefix)} (${range.class}), which the rule neither names nor opens with allow_into`,
        };
      }
    }
    const isOwnAddress = own.isThisMachine(ip) && !lifts.includes('this_machine');
    if (isOwnAddress && !names((prefix) => prefix.length === prefix.ip.bits)) {
      return {
        what: 'this_machine',
        why: `${formatIp(ip)} is an address of this machine, which the rule neither names as a single address nor opens with allow_into`,
      };
    }
  }
  return null;
}

/**
 * Decides like the compiled rules, but rule by rule and with reasons. `acl explain` shows
 * the result, and tests compare the compiled rules with it.
 */
export function explain(policy: AclPolicy, own: OwnEndpoints, request: AclRequest): Explanation {
  const subject = subjectOf(request);
  const source = parseIp(request.source_ip);
  if (typeof subject === 'string' || source === null) {
    const badAddress = canonicalHost(request.dest_host).kind !== 'invalid';
    const what =
      source === null ? 'invalid_source' : badAddress ? 'invalid_address' : 'invalid_name';
    const because = typeof subject === 'string' ? subject : 'the source is not an address';
    const verdict: AclVerdict = { decision: 'block', rule: `${PROTECTION_PREFIX}${what}` };
    return { verdict, destination: 'none', steps: [], because, isFinal: true };
  }
  const destination = subject.isOpen
    ? 'not known yet'
    : [subject.name, subject.ip === null ? null : formatIp(subject.ip)]
        .filter((part) => part !== null)
        .join(' at ');

  const steps: RuleStep[] = [];
  for (const rule of policy.rules) {
    const step = stepOf(rule, request, subject, source);
    steps.push(step);
    if (step.holds === 'yes') break;
  }
  const last = steps.at(-1);
  const decided = last?.holds === 'yes' ? last.rule : null;
  const open = steps.filter((step) => step.holds === 'maybe');
  const decision = decided?.action ?? policy.default;
  const by = decided === null ? 'the default decides' : `rule "${decided.name}" decides`;
  const result = (verdict: AclVerdict, because: string): Explanation => ({
    verdict,
    destination,
    steps,
    because,
    // A name that is allowed may still lead to a protected address.
    isFinal: verdict.decision === 'block' || subject.ip !== null,
  });

  if (decision === 'block') {
    if (!open.some((step) => step.rule.action === 'allow')) {
      return result({ decision, rule: decided?.name ?? null }, by);
    }
    return result(
      { decision: 'allow', rule: null },
      `${by} unless the address matches an earlier rule`,
    );
  }
  if (open.length > 0) {
    return result({ decision, rule: null }, `${by} unless the address matches an earlier rule`);
  }
  const protection = protectionOf(decided, request, subject, own);
  if (protection === null) return result({ decision, rule: decided?.name ?? null }, by);
  return result(
    { decision: 'block', rule: `${PROTECTION_PREFIX}${protection.what}` },
    `${by}, but ${protection.why}`,
  );
}
