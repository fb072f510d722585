import { describe, expect, it } from 'vitest';
import { PolicyFileError } from '../policy-file/document.js';
import { explanationLines, summaryOf } from './commands.js';
import { explain } from './explain.js';
import { parseAclFile } from './file.js';

/** The problems of a file as `line: message`. */
function problems(text: string): string[] {
  try {
    parseAclFile('acl.yaml', text);
    return [];
  } catch (error) {
    if (!(error instanceof PolicyFileError)) throw error;
    return error.problems.map(({ line, message }) => `${line}: ${message}`);
  }
}

const rule = (condition: string): string =>
  `default: allow\nrules:\n  - name: r\n    action: allow\n    ${condition}\n`;

describe('an ACL file', () => {
  it('is read with every kind of condition', () => {
    const policy = parseAclFile(
      'acl.yaml',
      `
default: block
time_zone: Europe/Berlin
rules:
  - name: everything
    action: allow
    users: [alice, anonymous]
    groups: [staff]
    sources: [10.0.0.0/8, '2001:db8::/32', 192.0.2.1]
    destinations: [Example.COM., '*.Bücher.example', 198.51.100.0/24, '2001:db8::1']
    ports: [443, 8000-8100, '22']
    protocols: [tcp]
    commands: [connect, bind]
    times:
      - { days: [fri-mon], from: '22:00', to: '06:00' }
      - { days: [wed], time_zone: UTC }
    allow_into: [private]
`,
    );
    expect(policy.rules[0]).toMatchObject({
      destinations: [
        { kind: 'name', name: 'example.com' },
        { kind: 'suffix', suffix: 'xn--bcher-kva.example' },
        { kind: 'prefix' },
        { kind: 'prefix' },
      ],
      ports: [
        { from: 443, to: 443 },
        { from: 8000, to: 8100 },
        { from: 22, to: 22 },
      ],
      times: [
        {
          days: ['fri', 'sat', 'sun', 'mon'],
          fromMinute: 1_320,
          toMinute: 360,
          timeZone: 'Europe/Berlin',
        },
        { days: ['wed'], fromMinute: 0, toMinute: 1_440, timeZone: 'UTC' },
      ],
    });
  });

  it('names every problem with its line', () => {
    expect(
      problems(`default: perhaps
surprise: 1
rules:
  - name: a
    action: allow
    users: []
    sources:
      - 10.0.0.1/8
      - 300.1.1.1
  - action: block
    name: a
    destinations:
      - '*'
      - .example.com
      - a.*.com
      - '0177.0.0.1'
      - '::ffff:10.0.0.1'
      - fe80::1%eth0
      - 10.0.0.0/33
      - 'a b'
    ports: [90-80, 65536]
    allow_into: [private]
  - just text
`),
    ).toEqual([
      '1: default: must be one of: allow, block',
      '2: surprise is not a setting here',
      '6: rules[1].users: is empty and would match nothing; remove it to match everything',
      '8: rules[1].sources[1]: has bits beyond its prefix; did you mean 10.0.0.0/8?',
      '9: rules[1].sources[2]: "300.1.1.1" is not an IP address',
      '11: the name "a" is already taken on line 4',
      '13: rules[2].destinations[1]: remove destinations to match any',
      '14: rules[2].destinations[2]: write *.example.com for every name below it',
      '15: rules[2].destinations[3]: "a.*.com": a * can only stand first, as in *.example.com',
      '16: rules[2].destinations[4]: "0177.0.0.1" is an unusual spelling of 127.0.0.1; write that',
      '17: rules[2].destinations[5]: write an IPv4-mapped address as IPv4: 10.0.0.1',
      '18: rules[2].destinations[6]: a zone cannot be part of a rule',
      '19: rules[2].destinations[7]: the prefix length must be 0 to 32',
      '20: rules[2].destinations[8]: "a b": the name has a forbidden character',
      '21: rules[2].ports[1]: must be a port (0 to 65535) or a range such as "8000-8100"',
      '21: rules[2].ports[2]: must be a port (0 to 65535) or a range such as "8000-8100"',
      '23: rules[3]: must be a map with name, action and conditions',
    ]);
  });

  it.each([
    ['times: [{ from: "09:00" }]', 'needs both from and to'],
    ['times: [{ from: "09:00", to: "09:00" }]', 'is empty'],
    ['times: [{ from: "24:00", to: "09:00" }]', 'from must be before'],
    ['times: [{ from: "24:01", to: "09:00" }]', 'must be a time'],
    ['times: [{}]', 'needs days'],
    ['times: [{ days: [monday] }]', 'not a day'],
    ['times: [{ days: [mon], time_zone: Mars/Base }]', 'not a time zone'],
    ['allow_into: [own_ports]', 'own_ports needs ports'],
    ['ports: [1-2]\n    allow_into: [own_ports]', 'own_ports needs ports'],
    ['protocols: [icmp]', 'must be one of: tcp, udp'],
    ['users: ["*"]', 'remove the list'],
    ['users: alice', 'must be a list'],
  ])('refuses %s', (condition, message) => {
    expect(problems(rule(condition)).join('\n')).toContain(message);
  });

  it('refuses text that is not YAML, repeats a key, or is a bomb of aliases', () => {
    expect(problems('default: [')[0]).toMatch(/^1: /);
    expect(problems('default: allow\ndefault: block')[0]).toMatch(/^2: Map keys must be unique/);
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i += 1) {
      const list = Array(10)
        .fill(`*${'abcdefghij'[i - 1]}`)
        .join(', ');
      bomb.push(`${'abcdefghij'[i]}: &${'abcdefghij'[i]} [${list}]`);
    }
    expect(problems(bomb.join('\n'))[0]).toMatch(/alias/);
    expect(problems('')[0]).toMatch(/default/);
    expect(problems('- a')[0]).toMatch(/must be a map/);
  });

  it.each([
    ['flow lists', '['.repeat(100_000)],
    ['flow maps', '{a: '.repeat(100_000)],
    ['lists on one line', '- '.repeat(100_000)],
    ['keys on one line', '? '.repeat(100_000)],
    ['lines', Array.from({ length: 2_000 }, (_, n) => `${' '.repeat(n)}a:`).join('\n')],
  ])('refuses %s that are nested deeply, before the parser follows them', (_, text) => {
    expect(problems(`default: allow\nrules:\n${text}`)).toEqual([
      expect.stringMatching(/^\d+: is nested too deeply$/),
    ]);
  });

  it('shares lists by aliases', () => {
    const text = `default: block
rules:
  - { name: a, action: allow, destinations: &sites [a.test, b.test] }
  - { name: b, action: allow, destinations: *sites }
`;
    const [a, b] = parseAclFile('acl.yaml', text).rules;
    expect(b?.destinations).toHaveLength(2);
    expect(b?.destinations).toEqual(a?.destinations);
  });
});

describe('acl check and explain', () => {
  const own = { coversIp: () => false, coversName: () => false, isThisMachine: () => false };
  const policy = parseAclFile(
    'acl.yaml',
    `default: block
rules:
  - { name: other, action: block, users: [eve] }
  - { name: net, action: block, destinations: [198.51.100.0/24] }
  - { name: rest, action: allow }
  - { name: never, action: block }
`,
  );
  const request = {
    user: 'alice',
    groups: [],
    source_ip: '192.0.2.1',
    dest_host: 'example.com',
    dest_ip: null,
    dest_port: 80,
    protocol: 'tcp',
    command: 'connect',
    nowMs: 0,
  } as const;

  it('warn of rules that cannot be reached', () => {
    expect(summaryOf('acl.yaml', policy)).toEqual([
      'acl.yaml: valid, 4 rules, default block',
      'warning: rule "rest" matches everything; the 1 rules after it are never reached',
    ]);
  });

  it('shows the deciding rule, and open questions', () => {
    expect(explanationLines(explain(policy, own, request), false)).toEqual([
      'destination: example.com',
      '     2  block  net: may match: it has networks, and the address is not known yet',
      '     3  allow  rest: matches',
      '        1 earlier rules do not match (--all shows why)',
      'undecided until the address is known: rule "rest" decides unless the address matches an earlier rule',
    ]);
    const blocked = explain(policy, own, { ...request, dest_ip: '198.51.100.7' });
    expect(explanationLines(blocked, true)).toEqual([
      'destination: example.com at 198.51.100.7',
      '     1  block  other: user and groups are not in the rule',
      '     2  block  net: matches',
      'BLOCK by rule "net": rule "net" decides',
    ]);
    const inside = explain(policy, own, { ...request, dest_ip: '10.0.0.1' });
    expect(explanationLines(inside, false).at(-1)).toBe(
      'BLOCK by rule "protection:private": rule "rest" decides, but 10.0.0.1 is in 10.0.0.0/8 (private), which the rule neither names nor opens with allow_into',
    );
  });
});
