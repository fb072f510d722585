import { COMMANDS, EVENT_LIMITS, PROTOCOLS } from '@sockscope/schemas';
import { z } from 'zod';
import {
  canonicalHost,
  formatPrefix,
  hostPrefix,
  parseIpv4Loose,
  parseIpv4Strict,
  parsePrefix,
} from '@sockscope/schemas/net';
import type { Prefix } from '@sockscope/schemas/net';
import { parsePolicyDocument, PolicyFileError, problemsOf } from '../policy-file/document.js';
import type { FileProblem } from '../policy-file/document.js';
import { ACL_LIMITS, LIFTABLE } from './rules.js';
import type { AclPolicy, AclRule, Destination, PortRange } from './rules.js';
import { DAYS, isTimeZone, MINUTES_PER_DAY } from './time-windows.js';
import type { TimeWindow } from './time-windows.js';

type Parsed<T> = { readonly value: T } | { readonly problem: string };

/** Text that `parse` turns into a value or a sentence about the problem. */
function text<T>(what: string, parse: (text: string) => Parsed<T>): z.ZodType<T> {
  return z.string(`must be text: ${what}`).transform((raw, context) => {
    const parsed = parse(raw);
    if ('value' in parsed) return parsed.value;
    context.addIssue({ code: 'custom', message: parsed.problem });
    return z.NEVER;
  });
}

function listOf<T>(item: z.ZodType<T>): z.ZodType<readonly T[]> {
  return z
    .array(item, 'must be a list')
    .min(1, 'is empty and would match nothing; remove it to match everything')
    .max(ACL_LIMITS.entries_per_list, `has more than ${ACL_LIMITS.entries_per_list} entries`);
}

function oneOf<const T extends string>(values: readonly T[]): z.ZodType<T> {
  return z.enum(values as readonly [T, ...T[]], `must be one of: ${values.join(', ')}`);
}

function parseSource(raw: string): Parsed<Prefix> {
  const prefix = parsePrefix(raw);
  return typeof prefix === 'string' ? { problem: prefix } : { value: prefix };
}

function parseName(raw: string): Parsed<string> {
  const host = canonicalHost(raw);
  if (host.kind === 'name') return { value: host.text };
  return { problem: `"${raw}": ${host.kind === 'invalid' ? host.problem : 'not a name'}` };
}

function parseDestination(raw: string): Parsed<Destination> {
  if (raw === '*') return { problem: 'remove destinations to match any' };
  if (raw.startsWith('*.')) {
    const suffix = parseName(raw.slice(2));
    return 'problem' in suffix ? suffix : { value: { kind: 'suffix', suffix: suffix.value } };
  }
  if (raw.startsWith('.')) return { problem: `write *${raw} for every name below it` };
  if (raw.includes('*'))
    return { problem: `"${raw}": a * can only stand first, as in *.example.com` };
  if (raw.includes('/') || raw.includes(':')) {
    const prefix = parsePrefix(raw);
    return typeof prefix === 'string' ? { problem: prefix } : { value: { kind: 'prefix', prefix } };
  }
  const strict = parseIpv4Strict(raw);
  if (strict !== null) return { value: { kind: 'prefix', prefix: hostPrefix(strict) } };
  const loose = parseIpv4Loose(raw);
  if (loose !== null) {
    return {
      problem: `"${raw}" is an unusual spelling of ${formatPrefix(hostPrefix(loose)).split('/')[0]}; write that`,
    };
  }
  const name = parseName(raw);
  return 'problem' in name ? name : { value: { kind: 'name', name: name.value } };
}

const PORT_HINT = 'a port (0 to 65535) or a range such as "8000-8100"';

const portRange: z.ZodType<PortRange> = z.unknown().transform((raw, context) => {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(
    typeof raw === 'number' || typeof raw === 'string' ? String(raw) : '',
  );
  const from = Number(match?.[1] ?? Number.NaN);
  const to = Number(match?.[2] ?? match?.[1] ?? Number.NaN);
  if (from <= to && to <= 65_535) return { from, to };
  context.addIssue({ code: 'custom', message: `must be ${PORT_HINT}` });
  return z.NEVER;
});

const clockMinute = text('a time such as "08:30"', (raw) => {
  const match = /^([01]\d|2[0-4]):([0-5]\d)$/.exec(raw);
  const minute = Number(match?.[1] ?? Number.NaN) * 60 + Number(match?.[2] ?? Number.NaN);
  return minute <= MINUTES_PER_DAY
    ? { value: minute }
    : { problem: 'must be a time from "00:00" to "24:00"' };
});

const timeZone = text('a time zone such as Europe/Berlin', (raw) =>
  isTimeZone(raw)
    ? { value: raw }
    : { problem: `"${raw}" is not a time zone such as Europe/Berlin` },
);

/** Days may be single ones or ranges, `mon-fri`. */
const days = listOf(
  text('a day or a range of days, such as mon or mon-fri', (raw) => {
    const [first = '', last = first, ...rest] = raw.toLowerCase().split('-');
    const from = DAYS.findIndex((day) => day === first);
    const to = DAYS.findIndex((day) => day === last);
    if (from < 0 || to < 0 || rest.length > 0) {
      return { problem: `"${raw}" is not a day or a range of days: ${DAYS.join(', ')}, mon-fri` };
    }
    return {
      value:
        from <= to ? DAYS.slice(from, to + 1) : [...DAYS.slice(from), ...DAYS.slice(0, to + 1)],
    };
  }),
);

const windowShape = z
  .strictObject(
    {
      days: days.optional(),
      from: clockMinute.optional(),
      to: clockMinute.optional(),
      time_zone: timeZone.optional(),
    },
    'must be a map with days, from, to, time_zone',
  )
  .superRefine((window, context) => {
    const problem = (message: string): void => {
      context.addIssue({ code: 'custom', message });
    };
    if ((window.from === undefined) !== (window.to === undefined)) {
      problem('needs both from and to, or neither');
    } else if (window.from === undefined && window.days === undefined) {
      problem('needs days, or from and to');
    } else if (window.from !== undefined && window.from === window.to) {
      problem('is empty: from and to are the same');
    } else if (window.from === MINUTES_PER_DAY) {
      problem('from must be before "24:00"');
    }
  });

const ruleName = text('the name of the rule', (raw) => {
  if (raw.length > ACL_LIMITS.rule_name_chars || raw.length > EVENT_LIMITS.acl_rule_chars) {
    return { problem: `is longer than ${ACL_LIMITS.rule_name_chars} characters` };
  }
  return /^[\p{L}\p{N}][\p{L}\p{N} ._/-]*$/u.test(raw)
    ? { value: raw }
    : { problem: 'must be letters, digits, spaces and . _ / - and begin with a letter or digit' };
});

const who = text('a name', (raw) =>
  raw.length > 0 && raw.length <= EVENT_LIMITS.user_chars && raw !== '*'
    ? { value: raw }
    : { problem: 'must be a name; remove the list to match everyone' },
);

const ruleShape = z
  .strictObject(
    {
      name: ruleName,
      action: oneOf(['allow', 'block']),
      users: listOf(who).optional(),
      groups: listOf(who).optional(),
      sources: listOf(text('an address or a CIDR block', parseSource)).optional(),
      destinations: listOf(
        text('a name, *.suffix, an address or a CIDR block', parseDestination),
      ).optional(),
      ports: listOf(portRange).optional(),
      protocols: listOf(oneOf(PROTOCOLS)).optional(),
      commands: listOf(oneOf(COMMANDS)).optional(),
      times: listOf(windowShape).optional(),
      allow_into: listOf(oneOf(LIFTABLE)).optional(),
    },
    'must be a map with name, action and conditions',
  )
  .superRefine((rule, context) => {
    if (rule.allow_into === undefined) return;
    const problem = (message: string): void => {
      context.addIssue({ code: 'custom', path: ['allow_into'], message });
    };
    if (rule.action === 'block') problem('has no meaning in a rule that blocks');
    const isBroad = rule.ports?.every((range) => range.from === range.to) !== true;
    if (rule.allow_into.includes('own_ports') && isBroad) {
      problem('own_ports needs ports that are listed one by one, without ranges');
    }
  });

const fileShape = z.strictObject(
  {
    default: oneOf(['allow', 'block']),
    time_zone: timeZone.default('UTC'),
    rules: z
      .array(ruleShape, 'must be a list of rules')
      .max(ACL_LIMITS.rules, `has more than ${ACL_LIMITS.rules} rules`)
      .default([]),
  },
  'must be a map with default and rules',
);

type ParsedRule = z.infer<typeof ruleShape>;

function windowOf(parsed: z.infer<typeof windowShape>, defaultZone: string): TimeWindow {
  return {
    days: parsed.days?.flat() ?? DAYS,
    fromMinute: parsed.from ?? 0,
    toMinute: parsed.to ?? MINUTES_PER_DAY,
    timeZone: parsed.time_zone ?? defaultZone,
  };
}

function ruleOf(parsed: ParsedRule, defaultZone: string): AclRule {
  return {
    name: parsed.name,
    action: parsed.action,
    users: parsed.users ?? null,
    groups: parsed.groups ?? null,
    sources: parsed.sources ?? null,
    destinations: parsed.destinations ?? null,
    ports: parsed.ports ?? null,
    protocols: parsed.protocols ?? null,
    commands: parsed.commands ?? null,
    times: parsed.times?.map((window) => windowOf(window, defaultZone)) ?? null,
    allowInto: parsed.allow_into ?? [],
  };
}

/** Names must be unique. Looks at the raw value, so that it also works beside other problems. */
function repeatedNames(raw: unknown, lineOf: (path: PropertyKey[]) => number): FileProblem[] {
  const rules: unknown = (raw as { rules?: unknown } | null)?.rules;
  if (!Array.isArray(rules)) return [];
  const first = new Map<unknown, number>();
  return rules.flatMap((rule: unknown, index) => {
    const name: unknown = (rule as { name?: unknown } | null)?.name;
    if (typeof name !== 'string') return [];
    const line = lineOf(['rules', index, 'name']);
    const earlier = first.get(name);
    if (earlier === undefined) {
      first.set(name, line);
      return [];
    }
    return [{ line, message: `the name "${name}" is already taken on line ${earlier}` }];
  });
}

function entryCount(rule: ParsedRule): number {
  return [rule.users, rule.groups, rule.sources, rule.destinations, rule.ports, rule.times]
    .map((list) => list?.length ?? 0)
    .reduce((sum, count) => sum + count, 0);
}

/**
 * Reads an ACL file.
 *
 * @throws PolicyFileError with every problem and its line.
 */
export function parseAclFile(file: string, content: string): AclPolicy {
  const document = parsePolicyDocument(file, content);
  const parsed = fileShape.safeParse(document.value ?? {});
  const problems = [
    ...(parsed.success ? [] : problemsOf(document, parsed.error)),
    ...repeatedNames(document.value, (path) => document.lineOf(path)),
  ];
  if (parsed.success) {
    const entries = parsed.data.rules.reduce((sum, rule) => sum + entryCount(rule), 0);
    if (entries > ACL_LIMITS.entries) {
      problems.push({
        line: 1,
        message: `all lists together have more than ${ACL_LIMITS.entries} entries`,
      });
    }
  }
  if (!parsed.success || problems.length > 0) throw new PolicyFileError(file, problems);
  const { data } = parsed;
  return { default: data.default, rules: data.rules.map((rule) => ruleOf(rule, data.time_zone)) };
}
