import { readFile } from 'node:fs/promises';
import { createLogger, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { ANONYMOUS_USER, COMMANDS, PROTOCOLS } from '@sockscope/schemas';
import { z } from 'zod';
import { canonicalHost, parseIp } from '@sockscope/schemas/net';
import { parseUsersFile } from '../auth/users-file.js';
import { createNameResolver } from '../dns/resolver.js';
import type { DnsConfig } from '../dns/config.js';
import type { AclRequest } from './acl.js';
import type { AclConfig } from './config.js';
import { explain } from './explain.js';
import type { Explanation, RuleStep } from './explain.js';
import { parseAclFile } from './file.js';
import { createOwnEndpoints, parseOwnEndpoint } from './own-endpoints.js';
import { OPEN_POLICY } from './rules.js';
import type { AclPolicy, AclRule } from './rules.js';

/** The part of the service's configuration that the commands need; `acl.own_endpoints` is complete. */
export interface AclCommandSettings {
  readonly acl: AclConfig;
  readonly users_file: string;
  readonly dns: DnsConfig;
}

async function policyOf(file: string): Promise<AclPolicy> {
  return file === '' ? OPEN_POLICY : parseAclFile(file, await readFile(file, 'utf8'));
}

function isUnconditional(rule: AclRule): boolean {
  const { users, groups, sources, destinations, ports, protocols, commands, times } = rule;
  return [users, groups, sources, destinations, ports, protocols, commands, times].every(
    (list) => list === null,
  );
}

/**
 * `acl check`: one line with the contents of the file, and a warning if rules cannot be reached.
 */
export function summaryOf(file: string, policy: AclPolicy): string[] {
  const lines = [`${file}: valid, ${policy.rules.length} rules, default ${policy.default}`];
  const last = policy.rules.findIndex(isUnconditional);
  const after = policy.rules.length - 1 - last;
  if (last >= 0 && after > 0) {
    lines.push(
      `warning: rule "${policy.rules[last]?.name}" matches everything; the ${after} rules after it are never reached`,
    );
  }
  return lines;
}

function stepLine(step: RuleStep, index: number): string {
  const { rule, holds, why } = step;
  const outcome = holds === 'yes' ? 'matches' : holds === 'maybe' ? `may match: ${why}` : why;
  return `  ${String(index + 1).padStart(4)}  ${rule.action.padEnd(5)}  ${rule.name}: ${outcome}`;
}

/** The lines that `acl explain` prints for one decision. Rules that do not match only with `all`. */
export function explanationLines(explanation: Explanation, all: boolean): string[] {
  const { verdict, destination, steps, because, isFinal } = explanation;
  const numbered = steps.map((step, index) => ({ step, line: stepLine(step, index) }));
  const shown = numbered.filter(({ step }) => all || step.holds !== 'no');
  const hidden = numbered.length - shown.length;
  const rule = verdict.rule === null ? 'no rule' : `rule "${verdict.rule}"`;
  return [
    `destination: ${destination}`,
    ...shown.map(({ line }) => line),
    ...(hidden > 0 ? [`        ${hidden} earlier rules do not match (--all shows why)`] : []),
    isFinal
      ? `${verdict.decision === 'allow' ? 'ALLOW' : 'BLOCK'} by ${rule}: ${because}`
      : `undecided until the address is known: ${because}`,
  ];
}

const explainOptions = z.object({
  user: z.string().default(ANONYMOUS_USER),
  group: z.array(z.string()).default([]),
  source: z
    .string()
    .refine((text) => parseIp(text) !== null, '--source must be an IP address')
    .default('127.0.0.1'),
  dest: z.string(),
  ip: z
    .string()
    .refine((text) => parseIp(text) !== null, '--ip must be an IP address')
    .optional(),
  port: z.coerce.number('--port must be 0 to 65535').int().min(0).max(65_535),
  protocol: z.enum(PROTOCOLS, `--protocol must be one of: ${PROTOCOLS.join(', ')}`).default('tcp'),
  command: z.enum(COMMANDS, `--command must be one of: ${COMMANDS.join(', ')}`).default('connect'),
  at: z.iso
    .datetime({ offset: true, error: '--at must be a time such as 2026-01-31T09:30:00Z' })
    .optional(),
  file: z.string().optional(),
  resolve: z.boolean(),
  all: z.boolean().default(false),
});

interface Resolved {
  readonly addresses: readonly string[];
  readonly searched: string | null;
}

async function addressesOf(name: string, dns: DnsConfig): Promise<Resolved> {
  const resolver = createNameResolver(dns);
  await resolver.start();
  const resolved = new Promise<Resolved>((resolve, reject) => {
    resolver.resolve(name, [], {
      resolved: (addresses, searched) => {
        resolve({ addresses, searched });
      },
      resolveFailed: (code) => {
        reject(new SockscopeError('dns_failed', `${name} cannot be resolved: ${code}`));
      },
    });
  });
  try {
    return await resolved;
  } finally {
    await resolver.stop();
  }
}

async function runExplain(raw: unknown, settings: AclCommandSettings): Promise<string[]> {
  const parsed = explainOptions.safeParse(raw);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => issue.message);
    throw new SockscopeError('option_invalid', problems.join('\n'));
  }
  const options = parsed.data;
  const policy = await policyOf(options.file ?? settings.acl.file);
  const own = createOwnEndpoints(
    settings.acl.own_endpoints.flatMap((text) => parseOwnEndpoint(text) ?? []),
    { logger: createLogger('proxy', { level: 'silent' }) },
  );
  await own.start();
  own.stop();
  const users =
    settings.users_file === ''
      ? null
      : parseUsersFile(settings.users_file, await readFile(settings.users_file, 'utf8'));
  const request: AclRequest = {
    user: options.user,
    groups: [...(users?.get(options.user)?.groups ?? []), ...options.group],
    source_ip: options.source,
    dest_host: options.dest,
    dest_ip: options.ip ?? null,
    dest_port: options.port,
    protocol: options.protocol,
    command: options.command,
    nowMs: options.at === undefined ? Date.now() : Date.parse(options.at),
  };
  const groups = request.groups.length === 0 ? 'no groups' : request.groups.join(', ');
  const first = explain(policy, own, request);
  const lines = [
    `${request.user} (${groups}) from ${request.source_ip}: ${request.protocol} ${request.command} to ${options.dest} port ${request.dest_port}`,
    ...explanationLines(first, options.all),
  ];
  const host = canonicalHost(options.dest);
  const isAsked = host.kind === 'name' && options.ip === undefined && options.resolve;
  if (!isAsked || first.verdict.decision === 'block') return lines;
  const { addresses, searched } = await addressesOf(host.text, settings.dns);
  if (searched !== null) lines.push('', `resolved as ${searched}`);
  for (const address of addresses) {
    lines.push(
      '',
      ...explanationLines(
        explain(policy, own, { ...request, resolved_name: searched, dest_ip: address }),
        options.all,
      ),
    );
  }
  return lines;
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

/** Adds `acl check` and `acl explain`. */
export function registerAclCommands(program: Command, settings: () => AclCommandSettings): void {
  const acl = program.command('acl').description('check and explain the access rules');
  acl
    .command('check')
    .description('check an ACL file and print every problem with its line')
    .argument('[file]', 'ACL file; default is PROXY_ACL_FILE')
    .action(async (given: string | undefined) => {
      const file = given ?? settings().acl.file;
      if (file === '') {
        throw new SockscopeError('option_invalid', 'no file: name one, or set PROXY_ACL_FILE');
      }
      print(summaryOf(file, await policyOf(file)));
    });
  acl
    .command('explain')
    .description('show the rule that decides about a request, and why')
    .requiredOption('--dest <host>', 'name or address, in any spelling')
    .requiredOption('--port <port>', 'destination port')
    .option('--user <name>', `user (default: ${ANONYMOUS_USER})`)
    .option('--group <name>', 'an additional group of the user; may be repeated', collect, [])
    .option('--source <address>', 'the client (default: 127.0.0.1)')
    .option('--ip <address>', 'decide as if the name resolved to this')
    .option('--no-resolve', 'do not resolve the name')
    .option('--protocol <protocol>', PROTOCOLS.join(' or '))
    .option('--command <command>', COMMANDS.join(', '))
    .option('--at <time>', 'decide as at this time, such as 2026-01-31T09:30:00Z')
    .option('--file <file>', 'ACL file; default is PROXY_ACL_FILE')
    .option('--all', 'show why each earlier rule does not match')
    .action(async (options: unknown) => {
      print(await runExplain(options, settings()));
    });
}
