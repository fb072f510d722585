/**
 * One answer of each route, for the OpenAPI document. They hang together: the same few sessions of
 * one morning, seen by each question. A test holds each against its schema.
 *
 * Longer than 400 lines: each answer is written out, because a reader compares it with the document.
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

export const sessionsAtPageExample = {
  at: '2026-01-31T12:00:10.000Z',
  items: [{ ...sessionExample, counters: 'event', ...rates }],
  next_cursor: null,
  total: 1,
  ...rates,
  ranking: 'exact',
} as const;

export const suggestionsExample = {
  items: [{ value: sessionExample.user, sessions: 412 }],
  days: 7,
};

export const pipelineExample = {
  as_of: '2026-01-31T12:00:36.000Z',
  window_seconds: 60,
  events: {
    per_second: { SessionStarted: 210.5, TrafficDelta: 1_204.2, SessionClosed: 209.8 },
    delay_ms: { p50: 412, p99: 1_830 },
    last_stored_at: '2026-01-31T12:00:35.802Z',
    silent_since: null,
  },
  proxies: [
    {
      proxy_id: sessionExample.proxy_id,
      last_event_at: '2026-01-31T12:00:35.410Z',
      last_stored_at: '2026-01-31T12:00:35.802Z',
      events_per_second: 1_624.5,
    },
  ],
  partitions: [
    {
      topic: 'sockscope.session-events.v1',
      partition: 0,
      next_offset: 1_804_417,
      caught_up: true,
      watermark: '2026-01-31T12:00:35.410Z',
      lag_ms: 0,
      observed_at: '2026-01-31T12:00:35.900Z',
      waits: null,
    },
  ],
  dead_letters: [
    {
      reason: 'invalid',
      letters: 3,
      last_at: '2026-01-31T11:58:02.114Z',
      sample: {
        topic: 'sockscope.session-events.v1',
        partition: 0,
        offset: 1_804_201,
        detail: 'dest_port: must be at most 65535',
      },
    },
  ],
  sums: { changed: 0, oldest_changed: null },
};

export const meExample = {
  id: 'key:0123456789ab',
  kind: 'key',
  scopes: ['read'],
  users: null,
  signed_in: true,
  masked: { users: false, addresses: false },
} as const;

export const signInsExample = {
  items: [
    {
      sign_in_id: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      principal: 'account:248289761001',
      created_at: '2026-01-31T08:00:00.000Z',
      expires_at: '2026-01-31T20:00:00.000Z',
    },
  ],
  truncated: false,
} as const;

export const keysExample = {
  items: [
    {
      key_id: '0123456789ab',
      name: 'dashboard',
      scopes: ['read'],
      users: ['alice'],
      rate_per_minute: null,
      created_at: '2026-01-30T08:00:00.000Z',
      created_by: 'key:ba9876543210',
      expires_at: '2026-04-30T08:00:00.000Z',
      revoked_at: null,
      last_used_at: '2026-01-31T11:59:12.000Z',
      state: 'valid',
    },
  ],
} as const;

export const keyCreatedExample = {
  key: 'ssk_0123456789ab_47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
  key_id: '0123456789ab',
} as const;

export const annotationExample = {
  annotation_id: '019c0f6e-9c10-7c11-a1b2-c3d4e5f60718',
  starts_at: '2026-01-31T11:30:00.000Z',
  ends_at: '2026-01-31T11:42:00.000Z',
  text: 'release 2.4 of the proxy',
  tags: ['deployment'],
  created_at: '2026-01-31T11:45:00.000Z',
  created_by: null,
};

export const annotationsExample = { items: [annotationExample], truncated: false };

export const auditExample = {
  items: [
    {
      entry_id: '019c0f6e-9c10-7c11-a1b2-c3d4e5f60718',
      at: '2026-01-31T12:00:36.000Z',
      ended_at: '2026-01-31T12:00:37.204Z',
      principal: 'key:0123456789ab',
      restricted_to: null,
      remote_ip: '192.0.2.10',
      action: 'sessions',
      format: 'csv',
      details: { user: ['alice'] },
      rows: 412,
      bytes: 90_210,
      outcome: 'finished',
    },
  ],
  next_cursor: null,
} as const;

export const lookupExample = {
  range: { from: '2026-01-31T11:58:10.000Z', to: '2026-01-31T12:02:10.000Z' },
  items: [{ ...sessionExample, matched: ['dest_ip', 'dest_port', 'time'], distance_ms: 0 }],
  truncated: false,
  completeness: {
    egress_recorded_since: '2026-01-01T00:00:00.000Z',
    egress_unrecorded: null,
    data_until: '2026-01-31T13:00:00.000Z',
    covers_range: true,
    sessions_since: null,
    silent_proxies: [],
    clocks: [{ proxy_id: sessionExample.proxy_id, least_delay_ms: 41 }],
  },
  as_of: '2026-01-31T13:00:01.000Z',
} as const;

export const evidenceExample = {
  status: 'not signed',
  kid: null,
  jws: null,
  evidence: {
    kind: 'sockscope.evidence',
    format_version: 1,
    product_version: '0.1.0',
    made_at: lookupExample.as_of,
    made_by: 'key:0123456789ab',
    question: { dest_ip: '198.51.100.7', time: '2026-01-31T12:00:10Z' },
    egress_ips: null,
    answer: lookupExample,
    events: {},
  },
} as const;

export const evidenceKeysExample = {
  keys: [
    {
      kty: 'OKP',
      crv: 'Ed25519',
      x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
      kid: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
      alg: 'EdDSA',
      use: 'sig',
      created_at: '2026-01-01T00:00:00.000Z',
      retired_at: null,
    },
  ],
} as const;

export const playbackExample = {
  step_ms: 60_000,
  frames: [
    {
      at: '2026-01-31T12:00:10.000Z',
      open: 1,
      ...rates,
      items: [{ session_id: sessionExample.session_id, ...rates }],
    },
  ],
  sessions: [sessionExample],
};

export const activeSessionExample = { ...openSession, ...rates, rate_window_ms: 30_000 };

export const liveWindowExample = {
  as_of: '2026-01-31T12:00:36.000Z',
  every_ms: 1_000,
  total: 1,
  truncated: false,
  ...rates,
  items: [{ ...openSession, ...rates }],
};

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
  expired: false,
  next_cursor: null,
};

const answer = {
  range: { from: '2026-01-31T00:00:00.000Z', to: '2026-01-31T12:00:59.000Z' },
  bytes_range: { from: '2026-01-31T00:00:00.000Z', to: '2026-01-31T12:01:00.000Z' },
  time_zone: 'UTC',
  resolution: 'minute',
  stale_hours: 0,
  incomplete_minutes: 0,
  as_of: '2026-01-31T12:00:59.120Z',
  data_until: '2026-01-31T12:00:58.904Z',
  waiting_partitions: [],
};

const figures = {
  sessions_started: 31,
  sessions_ended: 30,
  sessions_closed: 26,
  sessions_failed: 2,
  sessions_rejected: 2,
  bytes: sums.bytes_sent + sums.bytes_received,
  ...sums,
  duration_ms: 402_118,
};

function topExampleOf(named: object, of: object = figures) {
  return {
    ...answer,
    sort: 'bytes',
    items: [{ ...named, ...of, share: 1 }],
    other: null,
    total: of,
    next_cursor: null,
  };
}

/** Figures by rule, close reason or status, which count sessions at their end. */
const atEnd = { ...figures, sessions_started: null };
const topUsersExample = topExampleOf({ user: 'alice' });
const topDestinationsExample = topExampleOf({ dest_host: 'example.com' });

export const topExamples = {
  user: topUsersExample,
  dest_host: topDestinationsExample,
  dest_ip: topExampleOf({ dest_ip: '93.184.215.14' }, atEnd),
  egress_ip: topExampleOf({ egress_ip: '203.0.113.7' }, atEnd),
  dest_port: topExampleOf({ dest_port: 443 }),
  source_ip: topExampleOf({ source_ip: '192.0.2.10' }),
  protocol: topExampleOf({ protocol: 'tcp' }),
  proxy_id: topExampleOf({ proxy_id: 'proxy-1' }),
  acl_rule_matched: topExampleOf({ acl_rule_matched: 'web for staff at work' }, atEnd),
  close_reason: topExampleOf({ close_reason: 'client_eof' }, atEnd),
  status: topExampleOf({ status: 'closed' }, atEnd),
};

const period = {
  ...figures,
  unique_users: 1,
  unique_destinations: 1,
  unique_sources: 1,
  duration_quantiles_ms: { p50: 4_250, p90: 31_020, p95: 44_900, p99: 61_400 },
};

export const statsExample = {
  ...answer,
  sessions_open: 1,
  current: period,
  previous_range: { from: '2026-01-30T00:00:00.000Z', to: '2026-01-30T12:00:59.000Z' },
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
      sessions_started: [0, 29, 2],
      sessions_closed: [0, 25, 1],
      sessions_failed: [0, 2, 0],
      sessions_rejected: [0, 2, 0],
      sessions_open: [0, 0, 1],
    },
  ],
};

export const trafficExample = { ...answer, ...trend, split: null };

export const signalsExample = {
  kind: 'beacon',
  range: answer.range,
  thresholds: {
    beacon_starts: 12,
    beacon_gap_min_ms: 10_000,
    beacon_gap_max_ms: 21_600_000,
    beacon_spread_percent: 10,
  },
  known_since: '2026-01-01T00:00:00.000Z',
  items: [
    {
      user: 'alice',
      source_ip: null,
      dest_host: 'example.com',
      dest_port: 443,
      from: '2026-01-31T11:00:00.000Z',
      to: '2026-01-31T11:24:00.001Z',
      figures: { starts: 25, median_gap_ms: 60_000, spread: 0.01 },
      sessions_url:
        '/api/v1/sessions?user=alice&from=2026-01-31T11%3A00%3A00.000Z&to=2026-01-31T11%3A24%3A00.001Z&dest_host=example.com&dest_port=443',
    },
  ],
  truncated: false,
} as const;

export const explainExample = {
  ...answer,
  previous_range: { from: '2026-01-30T00:00:00.000Z', to: '2026-01-30T12:00:35.000Z' },
  measure: 'bytes',
  current: 7_388_322,
  previous: 4_000_000,
  change: 3_388_322,
  is_defined: true,
  fields: [
    {
      field: 'user',
      counts_at_end: false,
      items: [
        { value: 'alice', current: 7_388_322, previous: 4_000_000, change: 3_388_322, share: 1 },
      ],
    },
  ],
} as const;

export const flowsExample = {
  ...answer,
  sort: 'bytes',
  items: [{ user: 'alice', dest_host: 'example.com', dest_port: 443, ...figures }],
  other: null,
  total: figures,
};

const profile = {
  ...answer,
  first_seen: '2026-01-02T08:14:11.030Z',
  last_seen: '2026-01-31T12:00:35.000Z',
  sessions_open: 1,
  totals: figures,
  trend,
  busiest_hours: {
    range: answer.range,
    hours: Array.from({ length: 24 }, (_, hour) => ({
      hour,
      sessions_started: hour === 11 ? 29 : hour === 12 ? 2 : 0,
      bytes: hour === 11 ? 6_462_379 : hour === 12 ? 925_943 : 0,
    })),
  },
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
  sessions_open: 1,
  today: figures,
};
export const streamGapExample = {
  from: '2026-01-31T12:00:00.000Z',
  to: '2026-01-31T12:00:31.000Z',
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
