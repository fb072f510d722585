import type { SignalKind } from '@sockscope/schemas/api';
import type { SignalsConfig } from '../questions/signals/config.js';
import type { Range } from './truth.js';

/** Signals by brute force over plain sessions, to compare answers with. */

export interface SignalSession {
  readonly user: string;
  readonly source_ip: string;
  readonly dest_host: string;
  readonly dest_port: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly hasFailed: boolean;
  readonly bytes_sent: number;
  readonly bytes_received: number;
}

interface Finding {
  readonly user: string;
  readonly source_ip: string | null;
  readonly dest_host: string | null;
  readonly dest_port: number | null;
  readonly figures: Readonly<Record<string, number>>;
}

const SCAN_MS = 600_000;
const MAIL_MS = 3_600_000;
const MAIL_PORTS = [25, 465, 587];

function groups<T>(items: readonly T[], keyOf: (item: T) => unknown): (readonly [T, ...T[]])[] {
  const byKey = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const key = JSON.stringify(keyOf(item));
    const group = byKey.get(key);
    if (group === undefined) byKey.set(key, [item]);
    else group.push(item);
  }
  return [...byKey.values()];
}

const sourceOf = ({ user, source_ip }: SignalSession) => (user === 'anonymous' ? source_ip : null);
/** The /24, or the /48 of an address that is written with three groups or more. */
const networkOf = ({ source_ip }: SignalSession) => source_ip.split(/[.:]/).slice(0, 3).join('.');
const distinct = (items: readonly unknown[]) => new Set(items).size;
/** Sessions that started in the time up to and including `last`. */
const windowOf = (all: readonly SignalSession[], { startMs }: SignalSession, lengthMs: number) =>
  all.filter((each) => each.startMs <= startMs && each.startMs > startMs - lengthMs);

type Find = (
  sessions: readonly SignalSession[],
  thresholds: SignalsConfig,
  range: Range,
) => Finding[];

const sharedAccount: Find = (sessions, thresholds, { fromMs, toMs }) => {
  const open = sessions
    .map((each) => ({
      ...each,
      startMs: Math.max(each.startMs, fromMs),
      endMs: Math.min(each.endMs, toMs),
    }))
    .filter(({ user, startMs, endMs }) => endMs > startMs && user !== 'anonymous');
  return groups(open, ({ user }) => user).flatMap((own) => {
    const counts = own.map(({ startMs }) =>
      distinct(
        own.filter((each) => each.startMs <= startMs && each.endMs > startMs).map(networkOf),
      ),
    );
    const networks = Math.max(...counts);
    if (networks < thresholds.shared_networks) return [];
    const [{ user }] = own;
    return [{ user, source_ip: null, dest_host: null, dest_port: null, figures: { networks } }];
  });
};

const scanBy =
  (one: 'dest_port' | 'dest_host', many: 'dest_host' | 'dest_port'): Find =>
  (sessions, thresholds) =>
    groups(sessions, (each) => [each.user, sourceOf(each), each[one]]).flatMap((own) => {
      const most = Math.max(
        0,
        ...own
          .map((each) => windowOf(own, each, SCAN_MS))
          .filter((window) => {
            const failed = window.filter(({ hasFailed }) => hasFailed).length;
            return failed * 100 >= window.length * thresholds.scan_failed_percent;
          })
          .map((window) => distinct(window.map((each) => each[many]))),
      );
      const [first] = own;
      const name = many === 'dest_host' ? 'hosts' : 'ports';
      if (most < thresholds[`scan_${name}`]) return [];
      return [
        {
          user: first.user,
          source_ip: sourceOf(first),
          dest_host: one === 'dest_host' ? first.dest_host : null,
          dest_port: one === 'dest_port' ? first.dest_port : null,
          figures: { [name]: most },
        },
      ];
    });

const mail: Find = (sessions, thresholds) =>
  groups(
    sessions.filter(({ dest_port }) => MAIL_PORTS.includes(dest_port)),
    (each) => [each.user, sourceOf(each)],
  ).flatMap((own) => {
    const most = Math.max(...own.map((each) => windowOf(own, each, MAIL_MS).length));
    const [first] = own;
    if (most < thresholds.mail_sessions) return [];
    return [
      {
        user: first.user,
        source_ip: sourceOf(first),
        dest_host: null,
        dest_port: null,
        figures: { sessions: most },
      },
    ];
  });

const beacon: Find = (sessions, thresholds) =>
  groups(sessions, (each) => [each.user, sourceOf(each), each.dest_host, each.dest_port]).flatMap(
    (own) => {
      const starts = own.map(({ startMs }) => startMs).toSorted((a, b) => a - b);
      const gaps = starts
        .slice(1)
        .map((start, at) => start - (starts[at] ?? 0))
        .toSorted((a, b) => a - b);
      const quantile = (level: number) => gaps[Math.floor(level * gaps.length)] ?? 0;
      const median = quantile(0.5);
      const spread = quantile(0.9) - quantile(0.1);
      const [first] = own;
      const isEven =
        starts.length >= thresholds.beacon_starts &&
        median >= thresholds.beacon_gap_min_ms &&
        median <= thresholds.beacon_gap_max_ms &&
        spread * 100 <= median * thresholds.beacon_spread_percent;
      if (!isEven) return [];
      const { user, dest_host, dest_port } = first;
      return [
        {
          user,
          source_ip: sourceOf(first),
          dest_host,
          dest_port,
          figures: { starts: starts.length, median_gap_ms: median },
        },
      ];
    },
  );

function firstSeen(
  all: readonly SignalSession[],
  thresholds: SignalsConfig,
  { fromMs, toMs }: Range,
): Finding[] {
  return groups(all, (each) => [each.user, each.dest_host]).flatMap((own) => {
    const within = own.filter(({ startMs }) => startMs >= fromMs && startMs < toMs);
    const sum = (of: 'bytes_sent' | 'bytes_received') =>
      within.reduce((total, each) => total + each[of], 0);
    const [bytes_sent, bytes_received] = [sum('bytes_sent'), sum('bytes_received')];
    const [{ user, dest_host }] = own;
    const isNew =
      own.every(({ startMs }) => startMs >= fromMs) &&
      bytes_sent >= thresholds.first_seen_bytes &&
      bytes_sent >= bytes_received * thresholds.first_seen_ratio;
    return isNew
      ? [
          {
            user,
            source_ip: null,
            dest_host,
            dest_port: null,
            figures: { bytes_sent, bytes_received },
          },
        ]
      : [];
  });
}

const inRange =
  (find: Find): Find =>
  (sessions, thresholds, range) =>
    find(
      sessions.filter(({ startMs }) => startMs >= range.fromMs && startMs < range.toMs),
      thresholds,
      range,
    );

/** The findings of each kind in a range, in no order. */
export const FIND: Readonly<Record<SignalKind, Find>> = {
  shared_account: sharedAccount,
  scan: inRange((...args) => [
    ...scanBy('dest_port', 'dest_host')(...args),
    ...scanBy('dest_host', 'dest_port')(...args),
  ]),
  mail: inRange(mail),
  beacon: inRange(beacon),
  first_seen: firstSeen,
};
