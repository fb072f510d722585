import { Counter, Gauge } from '@sockscope/runtime';
import type { Logger, Registry } from '@sockscope/runtime';
import type { ConsumerEvents, StartReason } from '@sockscope/runtime/kafka';

/** Log lines when a partition begins; the errors are for an operator to look at. */
const START_LOG: Record<StartReason, readonly ['info' | 'error', string]> = {
  committed: ['info', 'partition begins'],
  new: ['info', 'reading a partition for the first time'],
  expired: [
    'error',
    "Kafka deleted records before they were read; check the topic's retention and the lag",
  ],
  beyond_end: [
    'error',
    'the partition is shorter than the committed offset, so it is read from its beginning',
  ],
  replaced: [
    'error',
    'the partition was replaced since the last commit, so it is read from its beginning',
  ],
};

/** Reports the events of the consumer as metrics and in the log. */
export function createConsumerEvents(
  registry: Registry,
  logger: Logger,
  onAssignment: (partitions: readonly number[]) => void,
): ConsumerEvents {
  const registers = [registry];
  const starts = new Counter({
    name: 'sockscope_ingest_partition_starts_total',
    help: 'Partitions started, by position: committed, new, expired, beyond_end, replaced.',
    labelNames: ['reason'],
    registers,
  });
  const lost = new Counter({
    name: 'sockscope_ingest_records_expired_total',
    help: 'Records that Kafka deleted before ingest read them.',
    registers,
  });
  const crashes = new Counter({
    name: 'sockscope_ingest_consumer_restarts_total',
    help: 'Times that the consumer failed and was started again.',
    registers,
  });
  const commits = new Counter({
    name: 'sockscope_ingest_commits_total',
    help: 'Commits of offsets.',
    labelNames: ['outcome'],
    registers,
  });
  let committedAtMs = Date.now();
  registers[0]?.registerMetric(
    new Gauge({
      name: 'sockscope_ingest_last_commit_age_seconds',
      help: 'Seconds since offsets were last committed, or since the start.',
      registers: [],
      collect() {
        this.set((Date.now() - committedAtMs) / 1_000);
      },
    }),
  );
  const assigned = new Gauge({
    name: 'sockscope_ingest_assigned_partitions',
    help: 'Partitions that this process reads.',
    registers,
  });
  return {
    onStart(start) {
      starts.inc({ reason: start.reason });
      lost.inc(start.lost);
      const [level, text] = START_LOG[start.reason];
      logger[level](start, text);
    },
    onAssignment(partitions) {
      assigned.set(partitions.length);
      logger.info({ partitions }, 'partitions assigned');
      onAssignment(partitions);
    },
    onCrash() {
      crashes.inc();
      assigned.set(0);
      onAssignment([]);
    },
    onCommit(error) {
      commits.inc({ outcome: error === null ? 'ok' : 'failed' });
      if (error === null) committedAtMs = Date.now();
    },
  };
}
