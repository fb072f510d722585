import { Counter } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { CLOSE_REASONS, statusOf } from '@sockscope/schemas';
import type { CloseReason, Counters } from '@sockscope/schemas';
import type { EventParts } from '../events/event-parts.js';
import { AtScrape } from '../metrics/at-scrape.js';
import { Buckets } from '../metrics/buckets.js';

/** Buckets from 10 ms up to a week: tunnels stay open for days. */
const DURATION_BUCKETS_SECONDS = [
  0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 43_200, 86_400, 259_200, 604_800,
];

const TRAFFIC = [
  [
    'bytes',
    'sockscope_proxy_bytes_total',
    'Payload bytes relayed, as reported in events. sent: client to destination.',
  ],
  [
    'packets',
    'sockscope_proxy_packets_total',
    'Datagrams (UDP) and socket reads (TCP) relayed, as reported in events.',
  ],
] as const;

export interface SessionMetrics {
  sessionStarted(): void;
  sessionClosed(event: EventParts): void;
  /** Traffic that an event reported. */
  trafficReported(delta: Counters): void;
  /** A session was not opened because the event sink takes no more. */
  refused(): void;
  /** The source of the number of live sessions, read at a scrape. */
  observe(active: () => number): void;
}

/**
 * Counts in plain numbers and hands them over when the metrics are read: these are touched for
 * every connection.
 */
export function createSessionMetrics(registry: Registry): SessionMetrics {
  let activeOf: () => number = () => 0;
  let started = 0;
  let refused = 0;
  const closed = new Map<CloseReason, number>();
  const traffic = { bytes_sent: 0, bytes_received: 0, packets_sent: 0, packets_received: 0 };
  const registers = [registry];
  const show = new AtScrape(registry);

  show.gauge('sockscope_proxy_sessions_active', 'Sessions that are open now.', () => activeOf());
  show.counter(
    'sockscope_proxy_sessions_started_total',
    'Sessions started, rejected and failed ones included.',
    () => started,
  );
  new Counter({
    name: 'sockscope_proxy_sessions_closed_total',
    help: 'Sessions ended, by status and close reason.',
    labelNames: ['status', 'reason'],
    registers,
    collect() {
      this.reset();
      for (const reason of CLOSE_REASONS) {
        this.inc({ status: statusOf(reason), reason }, closed.get(reason) ?? 0);
      }
    },
  });
  show.counter(
    'sockscope_proxy_sessions_refused_total',
    'Sessions refused because queue and spool were full.',
    () => refused,
  );
  for (const [unit, name, help] of TRAFFIC) {
    new Counter({
      name,
      help,
      labelNames: ['direction'],
      registers,
      collect() {
        this.reset();
        this.inc({ direction: 'sent' }, traffic[`${unit}_sent`]);
        this.inc({ direction: 'received' }, traffic[`${unit}_received`]);
      },
    });
  }
  const duration = new Buckets({
    name: 'sockscope_proxy_session_duration_seconds',
    help: 'How long sessions lasted.',
    buckets: DURATION_BUCKETS_SECONDS,
    registry,
  });

  function trafficReported(delta: Counters): void {
    traffic.bytes_sent += delta.bytes_sent;
    traffic.bytes_received += delta.bytes_received;
    traffic.packets_sent += delta.packets_sent;
    traffic.packets_received += delta.packets_received;
  }

  return {
    sessionStarted() {
      started += 1;
    },
    sessionClosed({ interval, closing }) {
      if (interval === null || closing === null) return;
      closed.set(closing.close_reason, (closed.get(closing.close_reason) ?? 0) + 1);
      duration.add(closing.duration_ms / 1_000);
      trafficReported(interval.delta);
    },
    trafficReported,
    refused() {
      refused += 1;
    },
    observe(active) {
      activeOf = active;
    },
  };
}
