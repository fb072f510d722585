import type { COMMANDS, PROTOCOLS } from '@sockscope/schemas';
import type { Prefix } from '@sockscope/schemas/net';
import { PROTECTED_CLASSES } from './protection.js';
import type { TimeWindow } from './time-windows.js';

export const ACL_LIMITS = {
  file_bytes: 16 * 1024 * 1024,
  rules: 20_000,
  /** Users, groups, sources, destinations, ports or times of one rule. */
  entries_per_list: 10_000,
  /** All list entries of all rules, aliases expanded. */
  entries: 500_000,
  rule_name_chars: 128,
} as const;

/** Our own rules' names begin so; a rule of a file cannot, because a colon is not allowed in names. */
export const PROTECTION_PREFIX = 'protection:';

/** Values of `allow_into`: the classes of protected addresses, this machine's own addresses, and the product's own ports. */
export const LIFTABLE = [...PROTECTED_CLASSES, 'this_machine', 'own_ports'] as const;
export type Liftable = (typeof LIFTABLE)[number];

/** Both ends included. */
export interface PortRange {
  readonly from: number;
  readonly to: number;
}

export type Destination =
  | { readonly kind: 'name'; readonly name: string }
  /** Every name below `suffix`, at any depth, but not `suffix` itself. */
  | { readonly kind: 'suffix'; readonly suffix: string }
  | { readonly kind: 'prefix'; readonly prefix: Prefix };

/**
 * One rule. Null is "any". Users and groups are one condition: the rule names the user or one of
 * the user's groups. All other conditions must hold as well.
 */
export interface AclRule {
  readonly name: string;
  readonly action: 'allow' | 'block';
  readonly users: readonly string[] | null;
  readonly groups: readonly string[] | null;
  readonly sources: readonly Prefix[] | null;
  readonly destinations: readonly Destination[] | null;
  readonly ports: readonly PortRange[] | null;
  readonly protocols: readonly (typeof PROTOCOLS)[number][] | null;
  readonly commands: readonly (typeof COMMANDS)[number][] | null;
  readonly times: readonly TimeWindow[] | null;
  /** Protections that this rule lifts, besides those that its own address entries name. */
  readonly allowInto: readonly Liftable[];
}

/** A whole ACL file: the first rule that matches decides, else the default. */
export interface AclPolicy {
  readonly default: 'allow' | 'block';
  readonly rules: readonly AclRule[];
}

/** The rules without a file: everything is allowed that is not protected. */
export const OPEN_POLICY: AclPolicy = { default: 'allow', rules: [] };
