/**
 * The cost of a decision of the ACL, by the number of rules: compiled, and read one by one.
 * Run alone: `node test/dist/bench/proxy/acl.js`.
 */
import { pathToFileURL } from 'node:url';
import { compileAcl } from '@sockscope/proxy/acl/compile';
import { createDecider } from '@sockscope/proxy/acl/decide';
import { explain } from '@sockscope/proxy/acl/explain';
import { parseAclFile } from '@sockscope/proxy/acl/file';
import type { AclRequest } from '@sockscope/proxy/acl/acl';
import type { MicroResult } from './micro.js';

interface AclBenchRow {
  readonly rules: number;
  readonly what: string;
  /** Microseconds per decision, median of the rounds. */
  readonly decide_us: number;
  /** The same with every rule read in turn. */
  readonly linear_us: number;
  /** Milliseconds to read and compile the file. */
  readonly load_ms: number;
}

const RULE_COUNTS = [10, 1_000, 5_000, 20_000];
const ROUNDS = 5;
const ROUND_MS = 60;
const nothing = { coversIp: () => false, coversName: () => false, isThisMachine: () => false };

/** A file with rules of every kind, as a large site has them: none of the requests below matches early. */
function mixedRules(count: number): string {
  const rules = Array.from({ length: count }, (_, i) => {
    const name = `  - { name: r${i}, action: ${i % 3 === 0 ? 'block' : 'allow'}`;
    switch (i % 6) {
      case 0:
        return `${name}, destinations: ["*.site${i}.example", site${i}.example] }`;
      case 1:
        return `${name}, users: [user${i}, user${i + 1}], ports: [80, 443] }`;
      case 2:
        return `${name}, destinations: [20.${(i >> 8) & 255}.${i & 255}.0/24], ports: [1024-65535] }`;
      case 3:
        return `${name}, groups: [group${i % 97}], sources: [30.${(i >> 8) & 255}.${i & 255}.0/24] }`;
      case 4:
        return `${name}, destinations: ["2a00:${i.toString(16)}::/32"], protocols: [tcp] }`;
      default:
        return `${name}, groups: [group${i % 89}], destinations: ["*.zone${i % 500}.example"], times: [{ days: [mon-fri], from: "08:00", to: "18:00" }] }`;
    }
  });
  return `default: block\nrules:\n${rules.join('\n')}\n`;
}

/** The worst for an index: every rule names the same destination and differs in the rest. */
function crowdedRules(count: number): string {
  const rules = Array.from(
    { length: count },
    (_, i) =>
      `  - { name: r${i}, action: allow, users: [user${i}], destinations: ["*.example.com"], ports: [${i + 1}] }`,
  );
  return `default: block\nrules:\n${rules.join('\n')}\n`;
}

function request(i: number, over: Partial<AclRequest> = {}): AclRequest {
  return {
    user: `someone${i}`,
    groups: [`group${i % 97}`, 'staff'],
    source_ip: `198.51.100.${i % 250}`,
    dest_host: `www${i}.shop.example.com`,
    dest_ip: null,
    dest_port: 443,
    protocol: 'tcp',
    command: 'connect',
    nowMs: 1_790_000_000_000,
    ...over,
  };
}

const CASES: readonly {
  readonly what: string;
  readonly rules: (count: number) => string;
  readonly requests: readonly AclRequest[];
}[] = [
  {
    what: 'name',
    rules: mixedRules,
    requests: Array.from({ length: 64 }, (_, i) => request(i)),
  },
  {
    what: 'name at IPv4',
    rules: mixedRules,
    requests: Array.from({ length: 64 }, (_, i) => request(i, { dest_ip: `93.184.${i}.34` })),
  },
  {
    what: 'IPv6',
    rules: mixedRules,
    requests: Array.from({ length: 64 }, (_, i) =>
      request(i, { dest_host: `2606:4700::${i.toString(16)}` }),
    ),
  },
  {
    what: 'all rules for one name',
    rules: crowdedRules,
    requests: Array.from({ length: 64 }, (_, i) =>
      request(i, { user: `user${i}`, dest_port: 60_000 }),
    ),
  },
];

/** Microseconds per call, over as many calls as fit into a round. */
function timeOf(requests: readonly AclRequest[], decide: (one: AclRequest) => unknown): number {
  const startMs = performance.now();
  let calls = 0;
  while (performance.now() - startMs < ROUND_MS) {
    for (const one of requests) decide(one);
    calls += requests.length;
  }
  return ((performance.now() - startMs) * 1_000) / calls;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function benchAcl(): AclBenchRow[] {
  return RULE_COUNTS.flatMap((count) =>
    CASES.map(({ what, rules, requests }) => {
      const text = rules(count);
      const startMs = performance.now();
      const policy = parseAclFile('bench.yaml', text);
      const compiled = createDecider(compileAcl(policy), nothing);
      const loadMs = performance.now() - startMs;
      const decide: number[] = [];
      const linear: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        decide.push(timeOf(requests, (one) => compiled.decide(one)));
        linear.push(timeOf(requests.slice(0, 4), (one) => explain(policy, nothing, one)));
      }
      return {
        rules: count,
        what,
        decide_us: median(decide),
        linear_us: median(linear),
        load_ms: loadMs,
      };
    }),
  );
}

/** The same as rows of the proxy's benchmark. */
export function aclResults(): MicroResult[] {
  return benchAcl().map(({ rules, what, decide_us, linear_us }) => ({
    name: `ACL decision, ${rules} rules, ${what} (one by one: ${linear_us.toFixed(0)} µs)`,
    value: decide_us,
    unit: 'µs',
    bound: null,
  }));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const rows = benchAcl();
  process.stdout.write('  rules  case                      decide µs   one by one µs   load ms\n');
  for (const row of rows) {
    const columns = [
      String(row.rules).padStart(7),
      row.what.padEnd(24),
      row.decide_us.toFixed(2).padStart(10),
      row.linear_us.toFixed(1).padStart(15),
      row.load_ms.toFixed(0).padStart(9),
    ];
    process.stdout.write(`${columns.join('  ')}\n`);
  }
}
