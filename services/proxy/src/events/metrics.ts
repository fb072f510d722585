import { Counter, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import { SESSION_EVENT_TYPES } from '@sockscope/schemas';
import type { SessionEventType } from '@sockscope/schemas';
import { AtScrape } from '../metrics/at-scrape.js';
import type { BackendStats } from './messages.js';

const REQUEST_BUCKETS_SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];
/** Up to a day: events that waited for Kafka. */
const AGE_BUCKETS_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 600, 3_600, 86_400];

/** The counters of the traffic thread. */
export interface EventCounts {
  /** Events for the log. */
  readonly emitted: Readonly<Record<SessionEventType, number>>;
  /** TrafficDeltas for the table, which the next one of their session may supersede. */
  readonly reported: number;
  /** Times that the disk began to refuse events. */
  readonly diskRefusals: number;
  readonly dropped: number;
  /** Kept in memory because the disk refuses them. */
  readonly memoryBytes: number;
  /** Bytes in the log that are not acknowledged. */
  readonly spoolBytes: number;
  readonly spoolMaxBytes: number;
  readonly accepting: boolean;
}

/**
 * Plain numbers, handed over when the metrics are read.
 *
 * @returns a function that takes the counts of the publishing side.
 */
export function createEventMetrics(
  registry: Registry,
  counts: () => EventCounts,
): (stats: BackendStats) => void {
  const registers = [registry];
  const show = new AtScrape(registry);
  let stats: BackendStats | null = null;

  new Counter({
    name: 'sockscope_proxy_events_emitted_total',
    help: 'Events emitted, by type.',
    labelNames: ['type'],
    registers,
    collect() {
      const { emitted, reported } = counts();
      this.reset();
      for (const type of SESSION_EVENT_TYPES) {
        this.inc({ type }, emitted[type] + (type === 'TrafficDelta' ? reported : 0));
      }
    },
  });
  new Counter({
    name: 'sockscope_proxy_publish_failures_total',
    help: "Requests to Kafka that failed and were repeated, by kind and by the broker's error.",
    labelNames: ['code', 'type'],
    registers,
    collect() {
      this.reset();
      for (const { code, type, count } of stats?.failures ?? []) this.inc({ code, type }, count);
    },
  });
  show.counter(
    'sockscope_proxy_events_published_total',
    'Events acknowledged by Kafka, including repetitions of a previous run.',
    () => stats?.published ?? 0,
  );
  show.counter(
    'sockscope_proxy_events_superseded_total',
    'TrafficDeltas replaced by a later one of the same session and minute.',
    // The other side's numbers are older by up to half a second.
    () =>
      stats === null
        ? 0
        : Math.max(0, counts().reported - stats.publishedReports - stats.waitingReports),
  );
  show.counter(
    'sockscope_proxy_events_dropped_total',
    'Events lost because disk and memory were full.',
    () => counts().dropped,
  );
  show.counter(
    'sockscope_proxy_events_refused_total',
    'Events that Kafka refused permanently; they are kept, see the command refused list.',
    () => stats?.refused ?? 0,
  );
  show.counter(
    'sockscope_proxy_sessions_crashed_total',
    'Sessions of dead processes that another process closed.',
    () => stats?.crashedSessions ?? 0,
  );
  show.counter(
    'sockscope_proxy_spool_errors_total',
    'Times that the disk refused a write to the spool.',
    () => counts().diskRefusals + (stats?.spoolErrors ?? 0),
  );
  show.counter(
    'sockscope_proxy_spool_lost_bytes_total',
    'Bytes of the spool that a crash or the disk destroyed.',
    () => stats?.lostBytes ?? 0,
  );
  show.gauge(
    'sockscope_proxy_spool_bytes',
    'Bytes of events that wait for Kafka on disk.',
    () => counts().spoolBytes,
  );
  show.gauge(
    'sockscope_proxy_spool_limit_bytes',
    'Bytes of events that may wait for Kafka on disk (PROXY_SPOOL_MAX).',
    () => counts().spoolMaxBytes,
  );
  show.gauge(
    'sockscope_proxy_queue_bytes',
    'Bytes of events in memory because the disk refuses writes.',
    () => counts().memoryBytes,
  );
  show.gauge(
    'sockscope_proxy_queue_deltas',
    'TrafficDeltas that wait and may be superseded.',
    () => stats?.waitingReports ?? 0,
  );
  show.gauge(
    'sockscope_proxy_open_sessions_bytes',
    'Size of the table of open sessions on disk.',
    () => stats?.tableBytes ?? 0,
  );
  show.gauge(
    'sockscope_proxy_events_accepting',
    '1 while queue and spool have room.',
    () => (counts().accepting ? 1 : 0),
    'min',
  );
  show.gauge(
    'sockscope_proxy_publish_failing_seconds',
    'Time without an acknowledgement from Kafka although events wait; 0 in normal operation.',
    () => (Date.now() - (stats?.outage?.sinceMs ?? Date.now())) / 1_000,
    'max',
  );
  const requests = new Histogram({
    name: 'sockscope_proxy_publish_duration_seconds',
    help: 'How long a batch took until Kafka acknowledged it.',
    buckets: REQUEST_BUCKETS_SECONDS,
    registers,
  });
  const ages = new Histogram({
    name: 'sockscope_proxy_publish_age_seconds',
    help: 'Age of the oldest event of a batch when Kafka acknowledged it.',
    buckets: AGE_BUCKETS_SECONDS,
    registers,
  });

  return (next) => {
    stats = next;
    for (const ms of next.requestsMs) requests.observe(ms / 1_000);
    for (const ms of next.agesMs) ages.observe(ms / 1_000);
  };
}
