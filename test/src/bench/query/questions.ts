import type { DataShape } from './generate.js';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const HALF_HOUR_MS = 1_800_000;

/** The parts of a session that a complaint would quote. */
export interface KnownSession {
  readonly session_id: string;
  readonly started_at: string;
  readonly dest_ip: string;
  readonly egress_ip: string;
  readonly egress_port: number;
}

/** The subject of a question. It differs each time, so that no cache answers. */
export interface Subject {
  /** Counts up. */
  readonly n: number;
  /** Which of `max` users or destinations, the busiest being 1. */
  readonly rank: (max: number) => number;
  /** How long before the end of the data a page begins, milliseconds. */
  readonly shiftMs: number;
  readonly shape: DataShape;
  /** A session that exists and was connected. */
  readonly session: KnownSession;
  /** A cursor about 100,000 rows below the newest. */
  readonly deepCursor: string;
}

/** One of the questions that the benchmark puts. */
export interface Question {
  readonly name: string;
  /** Wished median at 100 million sessions, as a multiple of `SELECT 1`; null if none was set. */
  readonly ratioMax: number | null;
  /** Target for the ratio of the medians at 100 and at 10 million; null if none was set. */
  readonly growthMax: number | null;
  /** Path below /api/v1. */
  path(subject: Subject): string;
  /**
   * The same for SQLite, if it has a counterpart. `slow`: takes seconds, asked a few times only.
   */
  sqlite?(subject: Subject): {
    readonly sql: string;
    readonly params: readonly (string | number)[];
    readonly slow?: true;
  };
  /** Takes long: asked a few times only. */
  readonly slow?: true;
  /** Whether 422 with the longest possible range is an answer too. */
  readonly mayBeRefused?: true;
}

/** Targets in milliseconds are for a machine on which `SELECT 1` takes this long. */
const SELECT_ONE_MS = 0.9;
const ofMs = (ms: number) => Math.round(ms / SELECT_ONE_MS);

const iso = (ms: number) => new Date(ms).toISOString();
const query = (params: Readonly<Record<string, string | number>>) =>
  new URLSearchParams(
    Object.fromEntries(Object.entries(params).map(([name, value]) => [name, String(value)])),
  ).toString();

/**
 * One after the other: half are among the busiest, half anywhere, because a page of a rare user is another
 * problem; and each page begins elsewhere, so that equal questions are not given the same answer again.
 */
export function inTurn(n: number): Pick<Subject, 'n' | 'rank' | 'shiftMs'> {
  return {
    n,
    rank: (max) => (n % 2 === 0 ? 1 + ((n / 2) % 20) : 1 + ((n * 7_919) % max)),
    shiftMs: (n % 500) * 1_000,
  };
}

/** Drawn as the sessions are, by Zipf's law: most questions are about the busiest. The same n gives the same. */
export function drawn(n: number, shiftMs = 0): Pick<Subject, 'n' | 'rank' | 'shiftMs'> {
  // The golden ratio spreads the draws evenly.
  const uniform = (n * 0.618_033_988_749_895) % 1;
  return { n, rank: (max) => Math.floor((max + 1) ** uniform), shiftMs };
}

function userOf(s: Subject): string {
  const rank = s.rank(s.shape.users);
  return rank === 7 ? 'anonymous' : `user-${rank}`;
}
function hostOf(s: Subject): string {
  const dest = s.rank(s.shape.destinations);
  return `host-${dest}.site-${dest % 997}.example`;
}
/** The end of the data, as if it were now: the data may have been made hours ago. */
const end = (s: Subject) => iso(s.shape.nowMs - s.shiftMs);
const dayStart = (s: Subject) => s.shape.nowMs - (s.shape.nowMs % DAY_MS);
const monthStart = (s: Subject) =>
  Math.ceil((s.shape.nowMs - s.shape.days * DAY_MS) / DAY_MS) * DAY_MS;

/** A past moment of the last weeks, within the kept events every third time. */
const momentOf = (s: Subject) =>
  s.shape.nowMs - HOUR_MS - (s.n % 3 === 0 ? 0 : (s.n % 27) * DAY_MS) - (s.n % 60) * 61_000;
/** A day that ended before today, each time another one, so that no memory answers. */
const aDay = (s: Subject) => ({
  from: iso(dayStart(s) - DAY_MS - s.shiftMs),
  to: iso(dayStart(s) - s.shiftMs),
});

/** Combinations of filters that no sums answer. */
const FILTERED: readonly (readonly [string, (range: { from: string; to: string }) => string])[] = [
  [
    'stats by rule and status',
    (range) => `stats?${query({ ...range, acl_rule_matched: 'rule-3', status: 'closed' })}`,
  ],
  [
    'top users of an address block',
    (range) => `top/users?${query({ ...range, source_ip: '10.0.0.0/18', protocol: 'tcp' })}`,
  ],
  [
    'traffic of long sessions',
    (range) => `traffic?${query({ ...range, min_duration_ms: 60_000, proxy_id: 'proxy-3' })}`,
  ],
  [
    'top destinations of an egress address',
    (range) =>
      `top/destinations?${query({ ...range, egress_ip: '198.51.100.3', min_bytes: 100_000 })}`,
  ],
  [
    'sessions by bytes',
    (range) => `sessions?${query({ ...range, sort: 'bytes', status: 'closed' })}`,
  ],
];

const NEWEST = 'SELECT * FROM sessions ORDER BY started_at DESC, session_id DESC LIMIT 50';

export const QUESTIONS: readonly Question[] = [
  {
    name: 'newest page',
    ratioMax: 6,
    growthMax: 1.5,
    path: (s) => `sessions?${query({ limit: 50, to: end(s) })}`,
    sqlite: () => ({ sql: NEWEST, params: [] }),
  },
  {
    name: 'page by user',
    ratioMax: 6,
    growthMax: 1.5,
    path: (s) => `sessions?${query({ limit: 50, user: userOf(s), to: end(s) })}`,
    sqlite: (s) => ({
      sql: 'SELECT * FROM sessions WHERE user = ? ORDER BY started_at DESC LIMIT 50',
      params: [userOf(s)],
    }),
  },
  {
    name: 'page by destination',
    ratioMax: 6,
    growthMax: 1.5,
    path: (s) => `sessions?${query({ limit: 50, dest_host: hostOf(s), to: end(s) })}`,
    sqlite: (s) => ({
      sql: 'SELECT * FROM sessions WHERE dest_host = ? ORDER BY started_at DESC LIMIT 50',
      params: [hostOf(s)],
    }),
  },
  {
    name: 'session by id',
    ratioMax: 6,
    growthMax: 1.5,
    path: (s) => `sessions/${s.session.session_id}`,
    sqlite: (s) => ({
      sql: 'SELECT * FROM sessions WHERE session_id = ?',
      params: [s.session.session_id],
    }),
  },
  {
    name: 'deep page',
    ratioMax: 6,
    growthMax: 1.5,
    path: (s) => `sessions?${query({ limit: 50, cursor: s.deepCursor })}`,
    sqlite: () => ({
      sql: 'SELECT * FROM sessions ORDER BY started_at DESC, session_id DESC LIMIT 50 OFFSET 100000',
      params: [],
    }),
  },
  {
    name: 'combined filters',
    ratioMax: 6,
    growthMax: 1.5,
    path: (s) =>
      `sessions?${query({
        limit: 50,
        user: userOf(s),
        status: 'closed',
        dest_port: 443,
        min_bytes: 10_000,
        from: iso(s.shape.nowMs - 7 * DAY_MS),
        to: end(s),
      })}`,
    sqlite: (s) => ({
      sql: `SELECT * FROM sessions WHERE user = ? AND status = 'closed' AND dest_port = 443
        AND bytes_sent + bytes_received >= 10000 AND started_at >= ? ORDER BY started_at DESC LIMIT 50`,
      params: [userOf(s), s.shape.nowMs - 7 * DAY_MS],
    }),
  },
  {
    name: 'active sessions',
    ratioMax: 15,
    growthMax: null,
    path: (s) => `sessions/active?${query({ limit: 1_000 - (s.n % 50) })}`,
    sqlite: () => ({
      sql: "SELECT * FROM sessions WHERE status = 'active' LIMIT 1000",
      params: [],
    }),
  },
  {
    name: 'stats of today, half-hour edges',
    ratioMax: 30,
    growthMax: null,
    path: (s) =>
      `stats?${query({ from: iso(dayStart(s) + HALF_HOUR_MS), to: iso(s.shape.nowMs - HALF_HOUR_MS - s.shiftMs) })}`,
    sqlite: (s) => ({
      sql: `SELECT count(*), sum(status = 'closed'), sum(status = 'failed'), sum(status = 'rejected_by_acl'),
        sum(bytes_sent), sum(bytes_received), count(DISTINCT user), count(DISTINCT dest_host)
        FROM sessions WHERE started_at >= ? AND started_at < ?`,
      params: [dayStart(s) + HALF_HOUR_MS, s.shape.nowMs - HALF_HOUR_MS - s.shiftMs],
      slow: true,
    }),
  },
  {
    name: 'top users, 30 days',
    ratioMax: 40,
    growthMax: null,
    path: (s) =>
      `top/users?${query({ from: iso(monthStart(s)), to: iso(dayStart(s)), sort: 'bytes', limit: 10 + (s.n % 40) })}`,
    sqlite: (s) => ({
      sql: `SELECT user, count(*), sum(bytes_sent + bytes_received) AS bytes FROM sessions
        WHERE started_at >= ? AND started_at < ? GROUP BY user ORDER BY bytes DESC LIMIT 10`,
      params: [monthStart(s), dayStart(s)],
      slow: true,
    }),
  },
  {
    name: 'top destinations, 30 days',
    ratioMax: 60,
    growthMax: null,
    path: (s) =>
      `top/destinations?${query({ from: iso(monthStart(s)), to: iso(dayStart(s)), sort: 'sessions_started', limit: 10 + (s.n % 40) })}`,
    sqlite: (s) => ({
      sql: `SELECT dest_host, count(*) AS sessions, sum(bytes_sent + bytes_received) FROM sessions
        WHERE started_at >= ? AND started_at < ? GROUP BY dest_host ORDER BY sessions DESC LIMIT 10`,
      params: [monthStart(s), dayStart(s)],
      slow: true,
    }),
  },
  {
    name: 'traffic, 30 days',
    ratioMax: 30,
    growthMax: null,
    path: (s) =>
      `traffic?${query({ from: iso(monthStart(s) + (s.n % 24) * HOUR_MS), to: iso(s.shape.nowMs - (s.n % 7) * HOUR_MS), points: 500 + (s.n % 200) })}`,
    sqlite: (s) => ({
      sql: `SELECT started_at / 3600000, count(*), sum(bytes_sent), sum(bytes_received) FROM sessions
        WHERE started_at >= ? GROUP BY 1`,
      params: [monthStart(s)],
      slow: true,
    }),
  },
  {
    name: 'open at a moment',
    ratioMax: ofMs(60),
    growthMax: null,
    path: (s) => `sessions?${query({ at: iso(momentOf(s)), limit: 100 })}`,
  },
  {
    name: 'open at a moment, by rate',
    ratioMax: ofMs(60),
    growthMax: null,
    path: (s) => `sessions?${query({ at: iso(momentOf(s)), limit: 100, sort: 'rate' })}`,
  },
  {
    name: 'lookup, ± 2 minutes',
    ratioMax: ofMs(15),
    growthMax: null,
    path: ({ session: { egress_ip, egress_port, started_at } }) =>
      `lookup?${query({ egress_ip, egress_port, time: started_at })}`,
  },
  {
    name: 'lookup, 30 days',
    ratioMax: ofMs(60),
    growthMax: null,
    path: ({ session: { egress_ip, egress_port } }) =>
      `lookup?${query({ egress_ip, egress_port })}`,
  },
  {
    name: 'lookup of a destination, 30 days',
    ratioMax: ofMs(60),
    growthMax: null,
    path: ({ session: { dest_ip } }) => `lookup?${query({ dest_ip })}`,
  },
  {
    name: 'explain a day',
    ratioMax: ofMs(400),
    growthMax: null,
    slow: true,
    path: (s) => `explain?${query({ ...aDay(s), measure: 'bytes' })}`,
  },
  {
    name: 'explain a day of a user',
    ratioMax: ofMs(400),
    growthMax: null,
    slow: true,
    path: (s) => `explain?${query({ ...aDay(s), measure: 'bytes', user: userOf(s) })}`,
  },
  ...(['shared_account', 'scan', 'mail', 'beacon', 'first_seen'] as const).map(
    (kind): Question => ({
      name: `signals of a day: ${kind}`,
      ratioMax: ofMs(400),
      growthMax: null,
      slow: true,
      path: (s) => `signals/${kind}?${query({ ...aDay(s) })}`,
    }),
  ),
  {
    name: 'suggest',
    ratioMax: ofMs(15),
    growthMax: null,
    path: (s) =>
      s.n % 2 === 0
        ? `suggest/user?${query({ prefix: `user-${s.n}` })}`
        : `suggest/dest_host?${query({ prefix: `host-${s.n}` })}`,
  },
  ...FILTERED.flatMap(([what, pathOf]): Question[] => [
    {
      name: `a day: ${what}`,
      ratioMax: ofMs(1_000),
      growthMax: null,
      slow: true,
      path: (s) => pathOf(aDay(s)),
    },
    {
      name: `30 days: ${what}`,
      ratioMax: ofMs(10_000),
      growthMax: null,
      slow: true,
      mayBeRefused: true,
      path: (s) => pathOf({ from: iso(monthStart(s)), to: iso(dayStart(s) + s.shiftMs) }),
    },
  ]),
];

/**
 * The mixed load: portals and support desks that look up users, destinations and sessions as they occur,
 * and dashboards. One in three of their `shared` questions is for the same moment, so that it may be
 * answered from memory; the others have ranges of their own.
 */
export const MIX: readonly {
  readonly name: string;
  readonly weight: number;
  readonly shared?: true;
}[] = [
  { name: 'newest page', weight: 25, shared: true },
  { name: 'page by user', weight: 25 },
  { name: 'page by destination', weight: 10 },
  { name: 'session by id', weight: 25 },
  { name: 'combined filters', weight: 5 },
  { name: 'active sessions', weight: 4, shared: true },
  { name: 'stats of today, half-hour edges', weight: 2, shared: true },
  { name: 'top users, 30 days', weight: 2, shared: true },
  { name: 'traffic, 30 days', weight: 2, shared: true },
];
