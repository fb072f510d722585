/**
 * The users of the demo, their addresses, and the destinations. All addresses are
 * loopback addresses: clients 127.11 to 127.60, destinations in the network of a `Land`.
 */

const TEAMS = {
  engineering: ['ada', 'bruno', 'chen', 'dmitri', 'elif', 'farah', 'goran', 'hanna'],
  design: ['ines', 'jonas', 'kira', 'leo'],
  sales: ['mateo', 'nadia', 'oskar', 'priya', 'quentin', 'rosa'],
  finance: ['sven', 'tamara', 'ulrich', 'vera'],
  support: ['wanda', 'xavier', 'yusuf', 'zofia'],
  contractors: ['ext-marek', 'ext-noor', 'ext-pavel'],
  machines: ['build-agent', 'nightly-backup'],
} as const;

export type Team = keyof typeof TEAMS;
const TEAM_NAMES = Object.keys(TEAMS) as Team[];

export interface Person {
  readonly name: string;
  readonly team: Team;
  /** The desk first, then the person's other places. */
  readonly sources: readonly [string, ...string[]];
  readonly weight: number;
}

/** People whose work follows Zipf's law: the first of each team works the most. */
export const PEOPLE: readonly Person[] = TEAM_NAMES.flatMap((team, network) =>
  TEAMS[team].map((name, index): Person => ({
    name,
    team,
    sources:
      index % 3 === 1
        ? [desk(network, index), `127.60.${String(network * 20 + index)}.10`]
        : [desk(network, index)],
    weight: (team === 'machines' ? 0.5 : 1) / (index + 1.5),
  })),
);

function desk(network: number, index: number): string {
  return `127.${String(11 + network)}.0.${String(20 + index)}`;
}

/** Clients that the signals find. */
export const SHARED_ACCOUNT = {
  name: 'field-team',
  sources: [1, 2, 3, 4, 5].map((network) => `127.50.${String(network)}.7`),
} as const;
export const BEACON = { name: 'meter-17', source: '127.40.0.17', everyMs: 60_000 } as const;
export const SCANNER = {
  name: 'kiosk-3',
  source: '127.40.0.3',
  /** 127.99.0.1, 127.99.0.2 …: nothing listens there. */
  network: '127.99.0',
  hosts: 60,
} as const;
export const MAILER = { name: 'ext-noor', source: '127.16.0.21', sessions: 24 } as const;
export const LEAK = { name: 'ext-pavel', source: '127.16.0.22', bytes: 130_000_000 } as const;

/** People with an account. All have the password `demo`. */
export const ACCOUNTS: readonly { readonly name: string; readonly group: string }[] = [
  ...PEOPLE.map(({ name, team }) => ({ name, group: team })),
  { name: SHARED_ACCOUNT.name, group: 'sales' },
  { name: BEACON.name, group: 'machines' },
  { name: SCANNER.name, group: 'machines' },
];
export const PASSWORD = 'demo';

/** The use of a connection; `kinds.ts` has the bytes and the duration of each. */
export type Kind = 'web' | 'api' | 'download' | 'video' | 'chat' | 'shell' | 'mail' | 'upload';

export type Service = 'https' | 'http' | 'ssh' | 'imaps';

export interface Destination {
  readonly host: string;
  /** The third and fourth number of its address. */
  readonly at: string;
  readonly service: Service;
  readonly kind: Kind;
  readonly weight: number;
  /** The users that connect to it; all if there is no list. */
  readonly teams?: readonly Team[];
}

type Place = readonly [host: string, kind: Kind, weight: number, teams?: readonly Team[]];
const PLACES: readonly Place[] = [
  ['www.news.example', 'web', 12],
  ['search.example', 'api', 16],
  ['static.cdn.example', 'web', 14],
  ['img.cdn.example', 'web', 10],
  ['mail.corp.example', 'mail', 9],
  ['chat.corp.example', 'chat', 4],
  ['wiki.corp.example', 'web', 6],
  ['calendar.corp.example', 'api', 6],
  ['maps.example', 'web', 3],
  ['weather.example', 'api', 2],
  ['video.stream.example', 'video', 1.6],
  ['meet.example', 'video', 1.4],
  ['music.stream.example', 'video', 0.8],
  ['updates.os.example', 'download', 1],
  ['git.example', 'shell', 6, ['engineering', 'contractors', 'machines']],
  ['registry.packages.example', 'download', 4, ['engineering', 'machines']],
  ['ci.example', 'api', 9, ['engineering', 'machines']],
  ['logs.ops.example', 'web', 4, ['engineering', 'support']],
  ['jump.ops.example', 'shell', 2.5, ['engineering', 'support']],
  ['fonts.example', 'web', 4, ['design']],
  ['assets.design.example', 'download', 4, ['design', 'sales']],
  ['renders.design.example', 'upload', 2, ['design']],
  ['crm.example', 'api', 14, ['sales', 'support']],
  ['tickets.example', 'api', 12, ['support', 'engineering']],
  ['voice.example', 'video', 1.5, ['sales', 'support']],
  ['bank.example', 'web', 5, ['finance']],
  ['ledger.corp.example', 'api', 10, ['finance']],
  ['tax-office.example', 'web', 1.5, ['finance']],
  ['backup.vault.example', 'upload', 6, ['machines']],
  ['mirror.example', 'download', 3, ['machines', 'engineering']],
];
/** Plain HTTP, as some always are. */
const PLAIN = new Set(['www.news.example', 'mirror.example', 'weather.example']);

export const DESTINATIONS: readonly Destination[] = PLACES.map(
  ([host, kind, weight, teams], index) => ({
    host,
    at: `${String(index + 1)}.10`,
    service:
      kind === 'shell' ? 'ssh' : kind === 'mail' ? 'imaps' : PLAIN.has(host) ? 'http' : 'https',
    kind,
    weight,
    ...(teams === undefined ? {} : { teams }),
  }),
);

function extra(host: string, last: number): Destination {
  return { host, at: `0.${String(last)}`, service: 'https', kind: 'api', weight: 0 };
}
export const TELEMETRY = extra('telemetry.meters.example', 11);
export const DROPBOX = extra('drop.files.example', 12);
/** Its name resolves, but its server is down. */
export const DOWN = extra('old-intranet.corp.example', 13);
/** A server that breaks connections off. */
export const FLAKY = extra('flaky.api.example', 14);

/** All with a server behind them. */
export const SERVED: readonly Destination[] = [...DESTINATIONS, TELEMETRY, DROPBOX, FLAKY];
/** All with a name. */
export const NAMED: readonly Destination[] = [...SERVED, DOWN];
/** Names that nobody knows. */
export const UNKNOWN_HOSTS = [
  'intranet2.corp.example',
  'cdn-3.assets.example',
  'wpad.corp.example',
];

/** Attempts that the rules of the demo refuse; `rule` is the value of `acl_rule_matched`. */
export const REFUSED: readonly {
  readonly host: string;
  readonly port: number | Service;
  readonly rule: string | null;
  readonly weight: number;
  readonly teams?: readonly Team[];
}[] = [
  { host: 'pixel.tracker.example', port: 'https', rule: 'no trackers', weight: 10 },
  { host: 'beacon.tracker.example', port: 'https', rule: 'no trackers', weight: 6 },
  { host: 'mx.partner.example', port: 25, rule: 'no direct mail', weight: 3 },
  {
    host: 'ledger.corp.example',
    port: 'https',
    rule: 'ledger for finance only',
    weight: 3,
    teams: ['contractors', 'sales'],
  },
  { host: '169.254.169.254', port: 80, rule: 'protection:metadata', weight: 1 },
  { host: '10.0.0.5', port: 445, rule: 'protection:private', weight: 2 },
];

/** The network of the destinations of one copy of the demo. */
export interface Land {
  /** The first two numbers of their addresses, such as `127.200`. */
  readonly network: string;
  readonly ports: Readonly<Record<Service, number>>;
}

/** The ports as everybody knows them, if the system lets us listen there. */
const KNOWN_PORTS = { https: 443, http: 80, ssh: 22, imaps: 993 };
const HIGH_PORTS = { https: 8443, http: 8080, ssh: 2222, imaps: 9993 };
const NETWORKS = Array.from({ length: 8 }, (_, index) => `127.${String(200 + index)}`);

/** Networks for a copy, the best first. */
export const LANDS: readonly Land[] = [KNOWN_PORTS, HIGH_PORTS].flatMap((ports) =>
  NETWORKS.map((network) => ({ network, ports })),
);

export function addressOf({ at }: Destination, { network }: Land): string {
  return `${network}.${at}`;
}

/** Content of `PROXY_ACL_FILE`. */
export const ACL = `# The rules of the demo. Everything outside of this machine is blocked.
default: block
rules:
  - name: no trackers
    action: block
    destinations: ['*.tracker.example']
  - name: no direct mail
    action: block
    ports: [25, 465, 587]
  - name: ledger for finance only
    action: block
    groups: [contractors, sales]
    destinations: [ledger.corp.example]
  - name: this machine
    action: allow
    destinations: [127.0.0.0/8]
    allow_into: [loopback]
`;
/** The rule that lets all others through. */
export const ALLOWING_RULE = 'this machine';
