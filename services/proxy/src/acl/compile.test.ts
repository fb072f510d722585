import { COMMANDS, PROTOCOLS } from '@sockscope/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIp, maskOf, parseIp } from '@sockscope/schemas/net';
import type { IpAddress, Prefix } from '@sockscope/schemas/net';
import type { AclRequest } from './acl.js';
import { compileAcl } from './compile.js';
import { createDecider } from './decide.js';
import { explain } from './explain.js';
import { parseAclFile } from './file.js';
import type { OwnEndpoints } from './own-endpoints.js';
import { LIFTABLE } from './rules.js';
import type { AclPolicy, AclRule, Destination } from './rules.js';
import { DAYS } from './time-windows.js';

const own: OwnEndpoints = {
  coversIp: (address, port) => port === 9092 && formatIp(address).startsWith('127.'),
  coversName: (name, port) => port === 9092 && name === 'kafka.test',
  isThisMachine: (address) => ['9.9.9.9', '10.1.1.1'].includes(formatIp(address)),
};

/** Each takes some milliseconds; PROPERTY_RUNS=100 is the long version. */
const RUNS = 150 * Number(process.env['PROPERTY_RUNS'] ?? 1);

// Small worlds, so that rules and requests meet often.
const USERS = ['anonymous', 'alice', 'bob', 'eve'];
const GROUPS = ['staff', 'guests', 'admins'];
const NAMES = ['test', 'a.test', 'b.a.test', 'c.b.a.test', 'example.com', 'kafka.test', 'xa.test'];
const ODD_NAMES = ['A.Test.', 'b。a.test', 'EXAMPLE.com', 'a..test', '', '*.test', 'x'.repeat(70)];
const IPS = [
  '9.9.9.9',
  '10.1.1.1',
  '127.0.0.1',
  '10.0.0.1',
  '10.0.0.2',
  '10.1.0.1',
  '169.254.169.254',
  '169.254.1.1',
  '93.184.216.34',
  '93.184.216.35',
  '100.64.0.1',
  '224.0.0.1',
  '0.0.0.0',
  '::',
  '::1',
  '::7f00:1',
  '64:ff9b::a00:1',
  '2002:7f00:1::1',
  '2001:0:a00:1::f5ff:fffe',
  '2001:db8::1',
  '2001:db8:1::1',
  'fd00:ec2::254',
  'fd00::1',
  'fe80::1',
];
const ODD_IPS = [
  '2130706433',
  '127.1',
  '0x7f.1',
  '0177.0.0.1',
  '::ffff:10.0.0.1',
  '[::1]',
  'fe80::1%lo',
  '1.2.3',
];
const PORTS = [0, 1, 22, 80, 443, 8080, 9092, 65_535];

function ip(text: string): IpAddress {
  const parsed = parseIp(text);
  if (parsed === null) throw new TypeError(text);
  return parsed;
}

const prefix: fc.Arbitrary<Prefix> = fc
  .tuple(fc.constantFrom(...IPS), fc.integer({ min: 0, max: 128 }))
  .map(([text, wanted]) => {
    const address = ip(text);
    const length = Math.min(wanted, address.bits);
    const words = address.words.map((word, i) => (word & maskOf(length, i)) >>> 0);
    return { ip: { ...address, words }, length };
  });

const destination: fc.Arbitrary<Destination> = fc.oneof(
  fc.constantFrom(...NAMES).map((name): Destination => ({ kind: 'name', name })),
  fc.constantFrom(...NAMES).map((suffix): Destination => ({ kind: 'suffix', suffix })),
  prefix.map((value): Destination => ({ kind: 'prefix', prefix: value })),
);

const range = fc
  .tuple(fc.constantFrom(...PORTS), fc.nat({ max: 70_000 }))
  .map(([from, more]) => ({ from, to: Math.min(65_535, from + (more % 3 === 0 ? 0 : more)) }));

const times = fc.record({
  days: fc.subarray([...DAYS], { minLength: 1 }),
  fromMinute: fc.integer({ min: 0, max: 1_439 }),
  toMinute: fc.integer({ min: 0, max: 1_440 }),
  timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kolkata', 'America/New_York'),
});

function maybeList<T>(item: fc.Arbitrary<T>, maxLength = 4): fc.Arbitrary<readonly T[] | null> {
  return fc.option(fc.array(item, { minLength: 1, maxLength }), { freq: 2 });
}

const rule: fc.Arbitrary<AclRule> = fc.record({
  name: fc.constant(''),
  action: fc.constantFrom('allow', 'block'),
  users: maybeList(fc.constantFrom(...USERS)),
  groups: maybeList(fc.constantFrom(...GROUPS)),
  sources: maybeList(prefix),
  destinations: maybeList(destination, 8),
  ports: maybeList(range),
  protocols: maybeList(fc.constantFrom(...PROTOCOLS)),
  commands: maybeList(fc.constantFrom(...COMMANDS)),
  times: fc.option(fc.array(times, { minLength: 1, maxLength: 2 }), { freq: 5 }),
  allowInto: fc.subarray([...LIFTABLE]).filter((list) => list.length < 4),
});

const policy: fc.Arbitrary<AclPolicy> = fc
  .record({
    default: fc.constantFrom<'allow' | 'block'>('allow', 'block'),
    rules: fc.array(rule, { maxLength: 80, size: 'max' }),
  })
  .map(({ rules, ...rest }) => ({
    ...rest,
    rules: rules.map((one, i) => ({ ...one, name: `rule ${i}` })),
  }));

const request: fc.Arbitrary<AclRequest> = fc.record({
  user: fc.constantFrom(...USERS),
  groups: fc.subarray(GROUPS),
  source_ip: fc.constantFrom(...IPS),
  dest_host: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...NAMES) },
    { weight: 3, arbitrary: fc.constantFrom(...IPS) },
    { weight: 1, arbitrary: fc.constantFrom(...ODD_NAMES, ...ODD_IPS) },
  ),
  resolved_name: fc.option(fc.constantFrom(...NAMES), { freq: 2 }),
  dest_ip: fc.option(fc.constantFrom(...IPS)),
  dest_port: fc.constantFrom(...PORTS),
  protocol: fc.constantFrom(...PROTOCOLS),
  command: fc.constantFrom(...COMMANDS),
  nowMs: fc.integer({ min: 1_577_836_800_000, max: 1_900_000_000_000 }),
});

describe('compiled rules', { timeout: 120_000 * Number(process.env['PROPERTY_RUNS'] ?? 1) }, () => {
  it('decide exactly as the rules read one by one', () => {
    fc.assert(
      fc.property(
        policy,
        fc.array(request, { minLength: 20, maxLength: 40 }),
        (rules, requests) => {
          // As another thread hands it over.
          const compiled = createDecider(structuredClone(compileAcl(rules)), own);
          for (const one of requests) {
            expect(compiled.decide(one)).toEqual(explain(rules, own, one).verdict);
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  it('never block a name that may resolve to an allowed address', () => {
    fc.assert(
      fc.property(
        policy,
        request,
        fc.constantFrom(...NAMES),
        fc.constantFrom(...IPS),
        (rules, one, name, address) => {
          const compiled = createDecider(compileAcl(rules), own);
          const byName = compiled.decide({ ...one, dest_host: name, dest_ip: null });
          const byAddress = compiled.decide({ ...one, dest_host: name, dest_ip: address });
          if (byName.decision === 'block') expect(byAddress.decision).toBe('block');
          // The first named rule decides, or the protection that it does not open.
          else if (byName.rule !== null && byAddress.decision === 'allow') {
            expect(byAddress.rule).toBe(byName.rule);
          }
        },
      ),
      { numRuns: 4 * RUNS },
    );
  });
});

function decide(text: string, over: Partial<AclRequest>): string {
  const compiled = createDecider(compileAcl(parseAclFile('acl.yaml', text)), own);
  const verdict = compiled.decide({
    user: 'anonymous',
    groups: [],
    source_ip: '192.0.2.1',
    dest_host: 'example.com',
    dest_ip: null,
    dest_port: 80,
    protocol: 'tcp',
    command: 'connect',
    nowMs: 0,
    ...over,
  });
  return `${verdict.decision} ${verdict.rule ?? 'default'}`;
}

describe('protection', () => {
  it('stands behind a rule that allows everything', () => {
    const all =
      'default: block\nrules:\n  - { name: all, action: allow }\n  - { name: v4, action: allow, destinations: [0.0.0.0/0] }';
    for (const [host, what] of [
      ['10.0.0.1', 'private'],
      ['192.168.1.1', 'private'],
      ['172.31.255.255', 'private'],
      ['fd12::1', 'private'],
      ['127.0.0.1', 'loopback'],
      ['2130706433', 'loopback'],
      ['127.1', 'loopback'],
      ['0x7f000001', 'loopback'],
      ['0177.0.0.1', 'loopback'],
      ['017700000001', 'loopback'],
      ['１２７.０.０.１', 'loopback'],
      ['127。0。0。1', 'loopback'],
      ['127.0.0.1.', 'loopback'],
      ['::1', 'loopback'],
      ['::1%lo', 'loopback'],
      ['[::1]', 'loopback'],
      ['0:0:0:0:0:0:0:1', 'loopback'],
      ['::ffff:127.0.0.1', 'loopback'],
      ['::ffff:7f00:1', 'loopback'],
      ['::127.0.0.1', 'loopback'],
      ['::ffff:0:127.0.0.1', 'loopback'],
      ['64:ff9b::127.0.0.1', 'loopback'],
      ['64:ff9b:1::10.0.0.1', 'private'],
      ['2002:7f00:1::', 'loopback'],
      ['2001:0:7f00:1::', 'loopback'],
      ['2001:0:5db8:d822::80ff:fffe', 'loopback'],
      ['2606:4700::5efe:127.0.0.1', 'loopback'],
      ['fe80::1', 'link_local'],
      ['169.254.0.1', 'link_local'],
      ['169.254.169.254', 'metadata'],
      ['0xa9fea9fe', 'metadata'],
      ['64:ff9b::169.254.169.254', 'metadata'],
      ['fd00:ec2::254', 'metadata'],
      ['100.64.0.1', 'cgnat'],
      ['100.100.100.200', 'metadata'],
      ['239.1.1.1', 'multicast'],
      ['ff02::1', 'multicast'],
      ['0.0.0.0', 'unspecified'],
      ['0', 'unspecified'],
      ['::', 'unspecified'],
      ['255.255.255.255', 'reserved'],
      ['192.0.2.1', 'reserved'],
      ['192.88.99.1', 'reserved'],
      ['198.18.0.1', 'reserved'],
      ['198.19.255.255', 'reserved'],
      ['198.51.100.1', 'reserved'],
      ['203.0.113.1', 'reserved'],
      ['2001:f:ffff::1', 'reserved'],
      ['2001:1ff:ffff::1', 'reserved'],
      ['2001:db8::1', 'reserved'],
      ['3fff::1', 'reserved'],
      ['5f00::1', 'reserved'],
      ['100:0:0:1::1', 'reserved'],
      ['9.9.9.9', 'this_machine'],
      ['64:ff9b::909:909', 'this_machine'],
      ['127.0.0.1.1', 'invalid_name'],
      ['256.0.0.1', 'invalid_name'],
      ['0x', 'unspecified'],
      ['a b', 'invalid_name'],
      ['local\0host', 'invalid_name'],
      ['a/b', 'invalid_name'],
    ] as const) {
      expect(`${host} ${decide(all, { dest_host: host })}`).toBe(
        `${host} block protection:${what}`,
      );
    }
    expect(decide(all, { dest_host: '93.184.216.34' })).toBe('allow all');
    const reachable = ['2606:4700::1111', '2001:3::1', '2001:4:112::1', '2001:20::1'];
    for (const dest_host of reachable) expect(decide(all, { dest_host })).toBe('allow all');
  });

  it('holds for the addresses of a name, even if a rule names the name', () => {
    const rules =
      'default: block\nrules:\n  - { name: site, action: allow, destinations: ["*.example.com"] }';
    const rebound = { dest_host: 'a.example.com', dest_ip: '127.0.0.1' };
    expect(decide(rules, { dest_host: 'a.example.com' })).toBe('allow site');
    expect(decide(rules, rebound)).toBe('block protection:loopback');
    expect(
      decide(`${rules}\n  - { name: late, action: allow, allow_into: [loopback] }`, rebound),
    ).toBe('block protection:loopback');
  });

  it('is lifted by a network inside the protected range, and by nothing wider or beside it', () => {
    const rules = (entry: string): string =>
      `default: allow\nrules:\n  - { name: in, action: allow, destinations: ["${entry}"] }`;
    expect(decide(rules('10.0.0.0/8'), { dest_host: '10.1.2.3' })).toBe('allow in');
    expect(decide(rules('10.1.2.3'), { dest_host: '10.1.2.3' })).toBe('allow in');
    expect(decide(rules('8.0.0.0/6'), { dest_host: '10.1.2.3' })).toBe('block protection:private');
    expect(decide(rules('169.254.0.0/16'), { dest_host: '169.254.1.1' })).toBe('allow in');
    expect(decide(rules('169.254.0.0/16'), { dest_host: '169.254.169.254' })).toBe(
      'block protection:metadata',
    );
    expect(decide(rules('169.254.169.254'), { dest_host: '169.254.169.254' })).toBe('allow in');
    expect(decide(rules('fd00:ec2::/64'), { dest_host: 'fd00:ec2::254' })).toBe(
      'block protection:metadata',
    );
    expect(decide(rules('64:ff9b::/96'), { dest_host: '64:ff9b::10.0.0.1' })).toBe(
      'block protection:private',
    );
  });

  it('is lifted by allow_into, for names too, and only for the classes it lists', () => {
    const rules =
      'default: block\nrules:\n  - { name: intranet, action: allow, destinations: ["*.corp.test"], allow_into: [private] }';
    const at = (dest_ip: string): string => decide(rules, { dest_host: 'db.corp.test', dest_ip });
    expect(at('10.0.0.1')).toBe('allow intranet');
    expect(at('127.0.0.1')).toBe('block protection:loopback');
    expect(at('169.254.169.254')).toBe('block protection:metadata');
  });

  it('keeps addresses of this machine closed to all but a rule that names them or this_machine', () => {
    const rules = (conditions: string): string =>
      `default: block\nrules:\n  - { name: in, action: allow, ${conditions} }`;
    const at = (conditions: string, dest_host: string): string =>
      decide(rules(conditions), { dest_host });
    expect(at('destinations: [9.9.9.0/24]', '9.9.9.9')).toBe('block protection:this_machine');
    expect(at('destinations: [9.9.9.0/24]', '9.9.9.8')).toBe('allow in');
    expect(at('destinations: [9.9.9.9]', '9.9.9.9')).toBe('allow in');
    expect(at('allow_into: [this_machine]', '9.9.9.9')).toBe('allow in');
    expect(at('allow_into: [private]', '10.1.1.1')).toBe('block protection:this_machine');
    expect(at('allow_into: [private, this_machine]', '10.1.1.1')).toBe('allow in');
  });

  it('keeps the own ports closed to everything but a rule that lists port and own_ports', () => {
    const loopback =
      'default: allow\nrules:\n  - { name: in, action: allow, destinations: [127.0.0.0/8], ports: [9092, 80], allow_into: [loopback] }';
    expect(decide(loopback, { dest_host: '127.0.0.1', dest_port: 80 })).toBe('allow in');
    expect(decide(loopback, { dest_host: '127.0.0.1', dest_port: 9092 })).toBe(
      'block protection:own_ports',
    );
    expect(decide(loopback, { dest_host: 'kafka.test', dest_port: 9092 })).toBe('allow default');
    expect(decide('default: allow', { dest_host: 'KAFKA.test.', dest_port: 9092 })).toBe(
      'block protection:own_ports',
    );
    const lifted = loopback.replace('[loopback]', '[loopback, own_ports]');
    expect(decide(lifted, { dest_host: '127.0.0.1', dest_port: 9092 })).toBe('allow in');
  });

  it('lets a block reach the address inside an address, but not an allow', () => {
    const block =
      'default: allow\nrules:\n  - { name: no, action: block, destinations: [93.184.216.0/24] }';
    expect(decide(block, { dest_host: '64:ff9b::93.184.216.34' })).toBe('block no');
    expect(decide(block, { dest_host: '2002:5db8:d822::1' })).toBe('block no');
    const allow =
      'default: block\nrules:\n  - { name: yes, action: allow, destinations: [93.184.216.0/24] }';
    expect(decide(allow, { dest_host: '64:ff9b::93.184.216.34' })).toBe('block default');
    expect(decide(allow, { dest_host: '::ffff:93.184.216.34' })).toBe('allow yes');
  });
});

describe('a name that a search list completes', () => {
  const at = { dest_host: 'db', resolved_name: 'db.corp.test', dest_ip: '93.184.216.34' };

  it('is blocked by the resolved address, and allowed by the requested name only', () => {
    const block =
      'default: allow\nrules:\n  - { name: no, action: block, destinations: ["*.corp.test"] }';
    expect(decide(block, at)).toBe('block no');
    expect(decide(block, { ...at, resolved_name: null })).toBe('allow default');
    const allow =
      'default: block\nrules:\n  - { name: yes, action: allow, destinations: ["*.corp.test"] }';
    expect(decide(allow, at)).toBe('block default');
    expect(decide(allow.replace('"*.corp.test"', 'db'), at)).toBe('allow yes');
  });
});

describe('BIND and UDP ASSOCIATE', () => {
  const some =
    'default: block\nrules:\n  - { name: peer, action: allow, commands: [bind], destinations: [198.51.100.0/24] }';

  it('continue with an unknown peer if some peer may be allowed, and decide by the real one', () => {
    expect(decide(some, { command: 'bind', dest_host: '0.0.0.0', dest_port: 0 })).toBe(
      'allow default',
    );
    expect(decide(some, { command: 'bind', dest_host: '0.0.0.0', dest_ip: '0.0.0.0' })).toBe(
      'allow default',
    );
    expect(decide('default: block', { command: 'bind', dest_host: '::', dest_port: 0 })).toBe(
      'block default',
    );
    expect(decide(some, { command: 'bind', dest_host: '198.51.100.7', dest_port: 5 })).toBe(
      'allow peer',
    );
    expect(decide(some, { command: 'bind', dest_host: '198.51.101.7' })).toBe('block default');
  });

  it('do not send datagrams to an unspecified address', () => {
    const open = { command: 'udp_associate', protocol: 'udp', dest_host: '0.0.0.0' } as const;
    expect(decide('default: allow', { ...open, dest_port: 0 })).toBe('allow default');
    expect(decide('default: allow', { ...open, dest_port: 53 })).toBe(
      'block protection:unspecified',
    );
  });
});
