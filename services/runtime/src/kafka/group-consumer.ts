/**
 * One member of a consumer group on one topic. Delivery is at least once: an offset is committed
 * when the caller says that everything below it is durable, and never before.
 *
 * kafkajs does the fetching and the group protocol; what stands here is what it leaves open: where
 * each partition begins (and an alarm where that is not where it ended), heartbeats while the sink is
 * full, commits that are fenced by assignment, and a restart after every way in which it can stop.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Admin, Consumer, EachBatchPayload, KafkaMessage } from 'kafkajs';
import { messageOf } from '../errors.js';
import type { Logger } from '../log/logger.js';
import { createKafkaClient } from './client.js';
import type { KafkaClient } from './client.js';
import { registerCodecs } from './codecs.js';
import type { KafkaConfig } from './config.js';
import type { ConsumerConfig } from './consumer-config.js';
import { kafkaErrorOf } from './errors.js';
import { startOf } from './start-offset.js';
import type { StartReason } from './start-offset.js';

/** A record as it was stored. `offset` is decimal text, `timestamp` milliseconds since 1970 as text. */
export type ConsumedRecord = Pick<
  KafkaMessage,
  'key' | 'value' | 'offset' | 'timestamp' | 'headers'
>;

/** Records of one partition in the order of their offsets, [from, to) without a gap towards the batch before. */
export interface ConsumedBatch {
  readonly partition: number;
  /** Names one stretch of owning the partition; a commit for another stretch is dropped. */
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  /** End of the partition when it was fetched. */
  readonly highWatermark: number;
  readonly records: readonly ConsumedRecord[];
}

/** Where batches go. */
export interface BatchSink {
  /** Resolves when there is room for another batch. Not called while an earlier call is pending. */
  ready(): Promise<void>;
  /** Takes a batch at once; it is not given again unless the process or the assignment ends. */
  accept(batch: ConsumedBatch): void;
}

/** Everything below `offset` is durable. */
export interface CommitPosition {
  readonly partition: number;
  readonly epoch: number;
  readonly offset: number;
}

export type ConsumerState = 'stopped' | 'joining' | 'running' | 'restarting';

export interface ConsumerEvents {
  /** A partition was assigned; `lost` counts offsets that were deleted before they could be read. */
  onStart?(start: { partition: number; offset: number; reason: StartReason; lost: number }): void;
  onAssignment?(partitions: readonly number[]): void;
  /** kafkajs ended; it is started again after `backoffMs`. */
  onCrash?(error: Error, backoffMs: number): void;
  onCommit?(error: Error | null): void;
  /** Offsets within an assignment did not follow on each other. */
  onJump?(jump: { partition: number; expected: number; got: number }): void;
}

export interface GroupConsumer {
  /** Resolves when the client is being started; joining goes on, and is repeated, behind it. */
  start(): void;
  /** Commits what it is given; resolves to false where the broker did not take it (it is tried again with the next). */
  commit(positions: readonly CommitPosition[]): Promise<boolean>;
  /** Takes no more batches; the member stays in the group, so that what is held can still be committed. */
  quiesce(): void;
  /** Leaves the group and closes its connections. */
  stop(): Promise<void>;
  state(): ConsumerState;
  /** Milliseconds since something last moved: a fetch, a batch, a heartbeat. */
  idleMs(): number;
}

interface Owned {
  readonly epoch: number;
  /** The group's committed offset as far as we know; [committed, next) is held by us. */
  committed: number;
  next: number;
  /** Durable, but not yet committed; null where there is nothing to commit. */
  durable: number | null;
}

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 15_000;
/** A stop waits this long for kafkajs to leave the group, then ends the connections. */
const LEAVE_DEADLINE_MS = 5_000;

export function createGroupConsumer(
  config: { readonly kafka: KafkaConfig; readonly consumer: ConsumerConfig },
  deps: { readonly logger: Logger; readonly sink: BatchSink; readonly events?: ConsumerEvents },
): GroupConsumer {
  const { sink, logger } = deps;
  const events = deps.events ?? {};
  const { topic } = config.kafka;
  const groupId = config.consumer.group_id;
  const owned = new Map<number, Owned>();
  let lastEpoch = 0;
  /** Counts the joins of all clients, so that what belongs to an earlier one is recognised. */
  let generation = 0;
  let state: ConsumerState = 'stopped';
  let lastMoveMs = Date.now();
  let current: { client: KafkaClient; consumer: Consumer; admin: Admin } | null = null;
  let isQuiet = false;
  let isStopping = false;
  const stopSignal = new AbortController();
  let loop: Promise<void> = Promise.resolve();

  const moved = () => {
    lastMoveMs = Date.now();
  };

  /** One life of a kafkajs consumer; resolves when it has ended, for whatever reason. */
  async function live(onRunning: () => void): Promise<Error | null> {
    const client = createKafkaClient(config.kafka, { logger, role: 'consumer', retries: 2 });
    const consumer = client.kafka.consumer({
      groupId,
      sessionTimeout: config.consumer.session_timeout_ms,
      rebalanceTimeout: config.consumer.rebalance_timeout_ms,
      heartbeatInterval: config.consumer.heartbeat_interval_ms,
      maxWaitTimeInMs: config.consumer.fetch_max_wait_ms,
      maxBytes: config.consumer.fetch_max_bytes,
      maxBytesPerPartition: config.consumer.fetch_max_bytes_per_partition,
      metadataMaxAge: config.consumer.metadata_max_age_ms,
      // Every end of kafkajs's consumer comes to us as a crash, and we start a fresh one: one way
      // for all, where it would restart after some errors and stay silent after others.
      retry: {
        retries: 3,
        initialRetryTime: 100,
        maxRetryTime: 2_000,
        restartOnFailure: async () => false,
      },
    });
    const admin = client.kafka.admin({
      retry: { retries: 3, initialRetryTime: 100, maxRetryTime: 2_000 },
    });
    current = { client, consumer, admin };
    const crashed = new Promise<Error | null>((resolve) => {
      consumer.on('consumer.crash', ({ payload }) => {
        resolve(payload.error);
      });
      stopSignal.signal.addEventListener(
        'abort',
        () => {
          resolve(null);
        },
        { once: true },
      );
    });
    consumer.on('consumer.fetch', moved);
    consumer.on('consumer.heartbeat', moved);
    consumer.on('consumer.group_join', ({ payload }) => {
      moved();
      onRunning();
      join(consumer, admin, payload.memberAssignment[topic] ?? []);
    });
    let error: Error | null = null;
    try {
      await Promise.all([consumer.connect(), admin.connect()]);
      // False would turn an offset out of range into a silent jump to the end.
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: 1,
        eachBatch: (payload) => takeBatch(payload),
      });
      error = await crashed;
    } catch (cause) {
      error = kafkaErrorOf(cause, 'consumer');
    }
    generation += 1;
    await Promise.race([
      Promise.allSettled([consumer.disconnect(), admin.disconnect()]),
      delay(LEAVE_DEADLINE_MS, undefined, { ref: false }),
    ]);
    client.destroy();
    current = null;
    return error;
  }

  /**
   * Called synchronously before the first fetch of an assignment: holds every partition until it is
   * known where it begins.
   */
  function join(consumer: Consumer, admin: Admin, partitions: readonly number[]): void {
    generation += 1;
    const mine = generation;
    consumer.pause([{ topic, partitions: [...partitions] }]);
    for (const partition of owned.keys()) {
      if (!partitions.includes(partition)) owned.delete(partition);
    }
    events.onAssignment?.(partitions);
    void position(consumer, admin, partitions, mine);
  }

  async function position(
    consumer: Consumer,
    admin: Admin,
    partitions: readonly number[],
    mine: number,
  ): Promise<void> {
    for (
      let backoffMs = BACKOFF_FIRST_MS;
      mine === generation;
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS)
    ) {
      try {
        // Repeated until it works: without it there is no telling where to begin.
        // oxlint-disable-next-line no-await-in-loop
        const [groupOffsets, bounds] = await Promise.all([
          admin.fetchOffsets({ groupId, topics: [topic] }),
          admin.fetchTopicOffsets(topic),
        ]);
        if (mine !== generation) return;
        const committedOf = new Map(
          groupOffsets.flatMap((t) => t.partitions).map((p) => [p.partition, Number(p.offset)]),
        );
        const boundsOf = new Map(
          bounds.map((b) => [b.partition, { low: Number(b.low), high: Number(b.high) }]),
        );
        for (const partition of partitions) {
          const range = boundsOf.get(partition);
          if (range === undefined) throw new Error(`no offsets of partition ${partition} yet`);
          const offset = begin(partition, committedOf.get(partition) ?? -1, range);
          consumer.seek({ topic, partition, offset: String(offset) });
        }
        if (!isQuiet) consumer.resume([{ topic, partitions: [...partitions] }]);
        return;
      } catch (cause) {
        if (mine !== generation) return;
        logger.warn(
          { err: kafkaErrorOf(cause, 'offsets') },
          'cannot read where the partitions begin',
        );
        // oxlint-disable-next-line no-await-in-loop
        await delay(backoffMs, undefined, { ref: false });
      }
    }
  }

  /** The offset to read next, and the books for it. */
  function begin(
    partition: number,
    committed: number,
    range: { low: number; high: number },
  ): number {
    const held = owned.get(partition);
    if (
      held !== undefined &&
      held.committed <= committed &&
      committed <= held.next &&
      held.next <= range.high
    ) {
      // What we hold continues the group's offset: nothing needs to be read again.
      held.committed = committed;
      return held.next;
    }
    const start = startOf(committed, range);
    lastEpoch += 1;
    owned.set(partition, { epoch: lastEpoch, committed, next: start.offset, durable: null });
    events.onStart?.({ partition, ...start });
    return start.offset;
  }

  async function takeBatch(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const mine = generation;
    moved();
    await readyWithHeartbeat(payload);
    const part = owned.get(batch.partition);
    // What was fetched before a rebalance, a seek or a stop is fetched again by whoever owns it then.
    if (
      mine !== generation ||
      part === undefined ||
      isQuiet ||
      payload.isStale() ||
      !payload.isRunning()
    ) {
      return;
    }
    const first = batch.messages[0];
    const from = first === undefined ? part.next : Number(first.offset);
    const to = Number(batch.lastOffset()) + 1;
    if (from < part.next) {
      // kafkajs went back to the beginning because the offset was out of range: the topic was
      // truncated or made anew. All of it is read again, under an epoch of its own.
      events.onJump?.({ partition: batch.partition, expected: part.next, got: from });
      lastEpoch += 1;
      owned.set(batch.partition, { epoch: lastEpoch, committed: from, next: from, durable: null });
    } else if (from > part.next) {
      events.onJump?.({ partition: batch.partition, expected: part.next, got: from });
    }
    const now = owned.get(batch.partition) ?? part;
    sink.accept({
      partition: batch.partition,
      epoch: now.epoch,
      from: now.next,
      to,
      highWatermark: Number(batch.highWatermark),
      records: batch.messages,
    });
    now.next = to;
    // Only moves the place of the next fetch: commits are ours.
    payload.resolveOffset(batch.lastOffset());
    moved();
  }

  /** Waits for room, and tells the group meanwhile that we live. A rebalance ends the wait by an exception. */
  async function readyWithHeartbeat(payload: EachBatchPayload): Promise<void> {
    let isReady = false;
    const ready = sink.ready().then(() => {
      isReady = true;
    });
    for (;;) {
      const pause = new AbortController();
      try {
        // oxlint-disable-next-line no-await-in-loop
        await Promise.race([
          ready,
          delay(config.consumer.heartbeat_interval_ms, undefined, { signal: pause.signal }).catch(
            () => undefined,
          ),
        ]);
      } finally {
        pause.abort();
      }
      if (isReady || isStopping) return;
      moved();
      // oxlint-disable-next-line no-await-in-loop
      await payload.heartbeat();
    }
  }

  async function supervise(): Promise<void> {
    let backoffMs = BACKOFF_FIRST_MS;
    while (!isStopping) {
      state = 'joining';
      // oxlint-disable-next-line no-await-in-loop
      const error = await live(() => {
        state = 'running';
        backoffMs = BACKOFF_FIRST_MS;
      });
      if (isStopping) break;
      state = 'restarting';
      const cause = error ?? new Error('the consumer ended by itself');
      logger.error({ err: cause, backoff_ms: backoffMs }, `consumer ended: ${messageOf(cause)}`);
      events.onCrash?.(cause, backoffMs);
      // oxlint-disable-next-line no-await-in-loop
      await delay(backoffMs, undefined, { signal: stopSignal.signal }).catch(() => undefined);
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
    }
    state = 'stopped';
  }

  return {
    start() {
      registerCodecs();
      loop = supervise();
    },
    async commit(positions) {
      for (const { partition, epoch, offset } of positions) {
        const part = owned.get(partition);
        if (part?.epoch === epoch) part.durable = Math.max(part.durable ?? 0, offset);
      }
      const due = [...owned].flatMap(([partition, part]) =>
        part.durable === null ? [] : [{ partition, part, offset: part.durable }],
      );
      if (due.length === 0) return true;
      if (current === null) return false;
      try {
        await current.consumer.commitOffsets(
          due.map(({ partition, offset }) => ({ topic, partition, offset: String(offset) })),
        );
        for (const { part, offset } of due) {
          part.committed = Math.max(part.committed, offset);
          if (part.durable === offset) part.durable = null;
        }
        events.onCommit?.(null);
        return true;
      } catch (cause) {
        const error = kafkaErrorOf(cause, 'commit');
        logger.warn({ err: error }, 'offsets not committed; tried again with the next batch');
        events.onCommit?.(error);
        return false;
      }
    },
    quiesce() {
      isQuiet = true;
      const partitions = [...owned.keys()];
      if (current !== null && state === 'running') current.consumer.pause([{ topic, partitions }]);
    },
    async stop() {
      isStopping = true;
      isQuiet = true;
      stopSignal.abort();
      await loop;
    },
    state: () => state,
    idleMs: () => Date.now() - lastMoveMs,
  };
}
