/**
 * One answer of each route, for the OpenAPI document. They hang together: the same few sessions of
 * one morning, seen by each question. A test holds each against its schema.
 */
import { EXAMPLE_SESSION, TIMELINE_FIELDS } from '../events/fields.js';

const sums = {
  bytes_sent: 48_210,
  bytes_received: 7_340_112,
  packets_sent: 412,
  packets_received: 5_230,
};
export const sessionExample = EXAMPLE_SESSION;

const openSession = {
  ...sessionExample,
  session_id: '019c0f6e-8d88-7f10-b2a4-5d6e7f809a1b',
  started_at: '2026-01-31T12:00:05.000Z',
  ended_at: null,
  updated_at: '2026-01-31T12:00:35.000Z',
  duration_ms: null,
  status: 'active',
  close_reason: null,
} as const;

export const sessionsPageExample = { items: [sessionExample], next_cursor: null };

const rates = { bytes_sent_per_second: 61, bytes_received_per_second: 30_804 };

export const activeSessionExample = { ...openSession, ...rates, rate_window_ms: 30_000 };

export const activeSessionsPageExample = {
  items: [activeSessionExample],
  next_cursor: null,
  total: 1,
  users: [
    {
      user: openSession.user,
      sessions: 1,
      bytes_sent: openSession.bytes_sent,
      bytes_received: openSession.bytes_received,
      ...rates,
    },
  ],
  as_of: '2026-01-31T12:00:35.000Z',
};

const noInterval = {
  interval_start: null,
  interval_end: null,
  delta: null,
};
const nothing = { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 };
const moved = {
  bytes_sent: sessionExample.bytes_sent,
  bytes_received: sessionExample.bytes_received,
  packets_sent: sessionExample.packets_sent,
  packets_received: sessionExample.packets_received,
};

const timelineClosed = {
  seq: 1,
  type: 'SessionClosed',
  occurred_at: sessionExample.ended_at,
  ...moved,
  interval_start: sessionExample.started_at,
  interval_end: sessionExample.ended_at,
  delta: moved,
  missing_before: 0,
  late: false,
  ...Object.fromEntries(TIMELINE_FIELDS.map((name) => [name, sessionExample[name]])),
};

export const timelineExample = {
  items: [
    {
      seq: 0,
      type: 'SessionStarted',
      occurred_at: sessionExample.started_at,
      ...nothing,
      ...noInterval,
      ...Object.fromEntries(TIMELINE_FIELDS.map((name) => [name, null])),
      missing_before: 0,
      late: false,
    },
    timelineClosed,
  ],
  next_cursor: null,
};

const answer = {
  range: { from: '2026-01-31T00:00:00.000Z', to: '2026-01-31T12:01:00.000Z' },
  time_zone: 'UTC',
  resolution: 'minute',
  stale_hours: 0,
  incomplete_minutes: 0,
  as_of: '2026-01-31T12:00:59.120Z',
  data_until: '2026-01-31T12:00:58.904Z',
};

const topSums = {
  sessions: 31,
  bytes: sums.bytes_sent + sums.bytes_received,
  ...sums,
  duration_ms: 402_118,
  rejected: 2,
};
const measures = {
  started: 31,
  closed: 26,
  failed: 2,
  rejected: 2,
  ...sums,
  duration_ms: 402_118,
};

function topExampleOf(named: object) {
  return {
    ...answer,
    by: 'bytes',
    items: [{ ...named, ...topSums, share: 1 }],
    other: null,
    total: topSums,
  };
}

export const topUsersExample = topExampleOf({ user: 'alice' });
export const topDestinationsExample = topExampleOf({ dest_host: 'example.com' });
export const topSourcesExample = topExampleOf({ source_ip: '192.0.2.10' });
export const topPortsExample = topExampleOf({ dest_port: 443 });
export const topAclRulesExample = topExampleOf({ acl_rule_matched: 'web for staff at work' });
export const topCloseReasonsExample = topExampleOf({ close_reason: 'client_eof' });

const period = {
  ...measures,
  unique_users: 1,
  unique_destinations: 1,
  unique_sources: 1,
  duration_quantiles_ms: { p50: 4_250, p90: 31_020, p95: 44_900, p99: 61_400 },
};

export const statsExample = {
  ...answer,
  active: 1,
  current: period,
  previous_range: { from: '2026-01-30T00:00:00.000Z', to: '2026-01-30T12:01:00.000Z' },
  previous: period,
  top_users: topUsersExample.items,
  top_destinations: topDestinationsExample.items,
};

const trend = {
  interval: '6h',
  buckets: ['2026-01-31T00:00:00.000Z', '2026-01-31T06:00:00.000Z', '2026-01-31T12:00:00.000Z'],
  series: [
    {
      key: null,
      other: false,
      bytes_sent: [0, 46_380, 1_830],
      bytes_received: [0, 6_415_999, 924_113],
      packets_sent: [0, 398, 14],
      packets_received: [0, 5_132, 98],
      started: [0, 29, 2],
      closed: [0, 25, 1],
      failed: [0, 2, 0],
      rejected: [0, 2, 0],
      active: [0, 0, 1],
    },
  ],
};

export const trafficExample = { ...answer, ...trend, split: null };

const flow = {
  sessions: topSums.sessions,
  bytes: topSums.bytes,
  bytes_sent: sums.bytes_sent,
  bytes_received: sums.bytes_received,
};

export const flowsExample = {
  ...answer,
  by: 'bytes',
  items: [{ user: 'alice', dest_host: 'example.com', dest_port: 443, ...flow }],
  other: null,
  total: flow,
};

const profile = {
  ...answer,
  first_seen: '2026-01-02T08:14:11.030Z',
  last_seen: '2026-01-31T12:00:35.000Z',
  active: 1,
  totals: measures,
  trend,
  busiest_hours: Array.from({ length: 24 }, (_, hour) => ({
    hour,
    sessions: hour === 11 ? 29 : hour === 12 ? 2 : 0,
    bytes: hour === 11 ? 6_462_379 : hour === 12 ? 925_943 : 0,
  })),
};

export const userProfileExample = {
  user: 'alice',
  ...profile,
  destinations: topDestinationsExample.items,
};
export const destinationProfileExample = {
  dest_host: 'example.com',
  ...profile,
  users: topUsersExample.items,
};

export const streamSessionExample = { ...openSession, seq: 4 };
export const streamCountersExample = {
  as_of: '2026-01-31T12:00:35.000Z',
  active: 1,
  today: measures,
};

export const clashConnectionsExample = {
  downloadTotal: openSession.bytes_received,
  uploadTotal: openSession.bytes_sent,
  memory: 141_557_760,
  connections: [
    {
      id: openSession.session_id,
      upload: openSession.bytes_sent,
      download: openSession.bytes_received,
      start: openSession.started_at,
      chains: [openSession.proxy_id],
      rule: 'Match',
      rulePayload: '',
      metadata: {
        network: 'tcp',
        type: 'Socks5',
        sourceIP: openSession.source_ip,
        sourcePort: '51234',
        destinationIP: openSession.dest_ip,
        destinationPort: '443',
        host: openSession.dest_host,
        inboundUser: openSession.user,
        inboundName: openSession.proxy_id,
        inboundIP: '',
        inboundPort: '0',
        dnsMode: 'normal',
        process: '',
        processPath: '',
        remoteDestination: openSession.dest_ip,
        specialProxy: '',
        specialRules: '',
        sniffHost: '',
        sourceGeoIP: null,
        destinationGeoIP: null,
        sourceIPASN: '',
        destinationIPASN: '',
        uid: 0,
        dscp: 0,
      },
    },
  ],
};
export const clashVersionExample = { meta: true, version: 'sockscope 0.1.0' };
export const clashConfigsExample = {
  port: 0,
  'socks-port': 0,
  'redir-port': 0,
  'tproxy-port': 0,
  'mixed-port': 0,
  'allow-lan': false,
  mode: 'rule',
  'log-level': 'silent',
  ipv6: true,
};
