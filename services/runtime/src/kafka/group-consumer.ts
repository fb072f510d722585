/**
 * One member of a consumer group on one topic. Delivery is at least once: an offset is committed
 * when the caller confirms that everything below it is durable, and never before.
 *
 * kafkajs does the fetching and the group protocol. This file adds the first offset of each
 * partition (and an alarm if it is not the expected one), heartbeats while the sink is full,
 * commits that are fenced by assignment, and a restart after every kind of end.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { EachBatchPayload } from 'kafkajs';
import { messageOf } from '../errors.js';
import type { Logger } from '../log/logger.js';
import type { KafkaConfig } from './config.js';
import type { ConsumerConfig } from './consumer-config.js';
import { createCommits } from './commits.js';
import { createConsumerLife } from './consumer-life.js';
import type { ConsumerLife } from './consumer-life.js';
import { BatchTooLargeError } from './codecs.js';
import { KafkaError, kafkaErrorOf } from './errors.js';
import { batchOf, installBatchDecoder } from './fetch-response.js';
import type {
  BatchSink,
  ConsumerEvents,
  ConsumerState,
  GroupConsumer,
  Hold,
} from './consumer-types.js';
import { createGroupWatch } from './group-watch.js';
import { OwnedPartitions, placeToFetch } from './owned-partitions.js';
import type { OwnedPartition } from './owned-partitions.js';
import { withReadGrant } from './plan.js';
import { openAhead, tryOpen } from './open-batch.js';
import type { Opened } from './open-batch.js';
import type { RecordBatch } from './record-batch.js';
import { parseAnchor } from './start-offset.js';

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 15_000;
/** A consumer without any activity for this many session timeouts is replaced. */
const WATCHDOG_SESSION_TIMEOUTS = 2;

export function createGroupConsumer(
  config: { readonly kafka: KafkaConfig; readonly consumer: ConsumerConfig },
  deps: { readonly logger: Logger; readonly sink: BatchSink; readonly events?: ConsumerEvents },
): GroupConsumer {
  const { sink, logger } = deps;
  const events = deps.events ?? {};
  const { topic } = config.kafka;
  const { group_id: groupId, batch_max_bytes: batchMaxBytes } = config.consumer;
  const owned = new OwnedPartitions((start) => events.onStart?.(start));
  /** Identifies this member in its group for the life of the process. */
  const role = `consumer-${randomBytes(4).toString('hex')}`;
  const silenceLimitMs = WATCHDOG_SESSION_TIMEOUTS * config.consumer.session_timeout_ms;
  const watch = createGroupWatch(
    {
      topic,
      session_timeout_ms: config.consumer.session_timeout_ms,
      stall_limit_ms: silenceLimitMs,
    },
    { logger, onHopeless: (error) => events.onHopeless?.(error) },
  );
  let hasLived = false;
  /** Counts the joins of all lives, so that results of an earlier life are recognised. */
  let generation = 0;
  let state: ConsumerState = 'stopped';
  /** The permission that Kafka refused us, until something is read again. */
  let refusal: string | null = null;
  let lastMoveMs = Date.now();
  let current: ConsumerLife | null = null;
  let isQuiet = false;
  let isStopping = false;
  const stopSignal = new AbortController();
  let loop: Promise<void> = Promise.resolve();
  const committer = createCommits(
    topic,
    owned,
    () => (state === 'running' ? (current?.consumer ?? null) : null),
    { logger, events },
  );

  const moved = () => {
    lastMoveMs = Date.now();
  };

  /** One life of a kafkajs consumer; resolves when it has ended, for any reason. */
  async function live(onRunning: () => void): Promise<Error | null> {
    const life = createConsumerLife({ ...config, role }, { logger });
    const { consumer, admin } = life;
    current = life;
    moved();
    let watchdog: NodeJS.Timeout | undefined;
    const over = new AbortController();
    const ended = new Promise<Error | null>((resolve) => {
      consumer.on('consumer.crash', ({ payload }) => {
        resolve(payload.error);
      });
      const onStop = () => {
        resolve(null);
      };
      stopSignal.signal.addEventListener('abort', onStop, { once: true, signal: over.signal });
      watchdog = setInterval(() => {
        if (Date.now() - lastMoveMs <= silenceLimitMs) return;
        resolve(new Error(`the consumer did nothing for ${silenceLimitMs} ms`));
      }, silenceLimitMs / 4);
    });
    const lives = () => {
      if (!life.isOver()) moved();
    };
    consumer.on('consumer.fetch', () => {
      lives();
      if (!life.isOver()) refusal = null;
    });
    consumer.on('consumer.heartbeat', lives);
    consumer.on('consumer.start_batch_process', ({ payload }) => {
      if (!life.isOver()) watch.progress.passed(payload.partition);
    });
    consumer.on('consumer.group_join', ({ payload }) => {
      if (life.isOver()) return;
      moved();
      onRunning();
      join(life, payload.memberAssignment[topic] ?? []);
    });
    const work = (async () => {
      await Promise.all([consumer.connect(), admin.connect()]);
      // False would turn an offset out of range into a silent jump to the end.
      await consumer.subscribe({ topics: [topic], fromBeginning: true });
      if (hasLived) await watch.sweep(life);
      hasLived = true;
      if (life.isOver()) return null;
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: 1,
        eachBatch: (payload) => takeBatches(life, payload),
      });
      const still = await watch.watch(life, over.signal);
      // Everything known about them is dropped, because it may be the cause.
      for (const partition of still) owned.disown(partition);
      return still.length === 0
        ? ended
        : new Error(`partitions ${still.join(', ')} do not move while records arrive`);
    })();
    const error = await Promise.race([work, ended]).catch((cause: unknown) =>
      kafkaErrorOf(cause, 'consumer'),
    );
    clearInterval(watchdog);
    over.abort();
    // From here on nothing that this life still does counts.
    generation += 1;
    current = null;
    await life.end();
    await life.settled(work, stopSignal.signal);
    return error;
  }

  /**
   * Called synchronously before the first fetch of an assignment: holds every partition until it is
   * known where it begins.
   */
  function join(life: ConsumerLife, partitions: readonly number[]): void {
    generation += 1;
    life.consumer.pause([{ topic, partitions: [...partitions] }]);
    for (const partition of owned.numbers) {
      if (!partitions.includes(partition)) owned.disown(partition);
    }
    watch.progress.assign(isQuiet ? [] : partitions);
    events.onAssignment?.(partitions);
    void position(life, partitions, generation);
  }

  async function position(
    life: ConsumerLife,
    partitions: readonly number[],
    mine: number,
  ): Promise<void> {
    let backoffMs = BACKOFF_FIRST_MS;
    while (mine === generation) {
      try {
        // Repeated until it works: without it the start is unknown.
        const [groupOffsets, ranges] = await Promise.all([
          life.admin.fetchOffsets({ groupId, topics: [topic] }),
          life.admin.fetchTopicOffsets(topic),
        ]);
        if (mine !== generation) return;
        const commits = new Map(
          groupOffsets.flatMap((t) => t.partitions).map((p) => [p.partition, p]),
        );
        const rangeOf = new Map(
          ranges.map((r) => [r.partition, { low: Number(r.low), high: Number(r.high) }]),
        );
        for (const partition of partitions) {
          const range = rangeOf.get(partition);
          if (range === undefined) throw new Error(`no offsets of partition ${partition} yet`);
          const commit = commits.get(partition);
          const fetchFrom = owned.begin(
            partition,
            { offset: Number(commit?.offset ?? -1), anchor: parseAnchor(commit?.metadata ?? null) },
            range,
          );
          life.consumer.seek({ topic, partition, offset: String(fetchFrom) });
        }
        if (!isQuiet) life.consumer.resume([{ topic, partitions: [...partitions] }]);
        return;
      } catch (cause) {
        if (mine !== generation) return;
        logger.warn(
          { err: kafkaErrorOf(cause, 'offsets'), backoff_ms: backoffMs },
          'cannot read the first offsets of the partitions',
        );
        await delay(backoffMs, undefined, { ref: false });
        backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
      }
    }
  }

  async function takeBatches(life: ConsumerLife, payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const { partition } = batch;
    const mine = generation;
    // Records fetched before a rebalance, a seek or a stop are fetched again by the next owner.
    const isStale = () =>
      life.isOver() || mine !== generation || isQuiet || payload.isStale() || !payload.isRunning();
    moved();
    const batches = batch.messages.map(batchOf);
    const highWatermark = Number(batch.highWatermark);
    let ahead: Promise<Opened> | null = null;
    for (const [index, recordBatch] of batches.entries()) {
      const from = owned.get(partition)?.next ?? 0;
      const opening = openAhead(recordBatch, from, batchMaxBytes, ahead);
      await roomWithHeartbeat(payload);
      const opened: Opened = await opening;
      if (isStale()) return;
      const isLookedAtAgain = (owned.get(partition)?.expected ?? null) !== null;
      const part = owned.get(partition);
      if (part === undefined) return;
      const instead = owned.check(partition, part, recordBatch);
      if (instead !== null) {
        life.consumer.seek({ topic, partition, offset: String(instead) });
        return;
      }
      const next = batches[index + 1];
      // If the next one is large, another thread decompresses it while this one is read.
      const heldBytes = opened instanceof KafkaError ? 0 : opened.bytes.length;
      ahead = next === undefined ? null : tryOpen(next, part.next, batchMaxBytes - heldBytes);
      const taking = { partition, part, batch: recordBatch, opened, highWatermark };
      const hold = take({ ...taking, isLookedAtAgain });
      if (hold !== null) {
        holdPartition(life, partition, part, hold);
        return;
      }
      // Only moves the place of the next fetch: commits are ours.
      payload.resolveOffset(String(part.next - 1));
      moved();
    }
  }

  /** Hands a batch over, as far as it was not taken yet. */
  function take(taking: {
    readonly partition: number;
    readonly part: OwnedPartition;
    readonly batch: RecordBatch;
    readonly opened: Opened;
    readonly highWatermark: number;
    /** Whether it was fetched for the sake of the record before `next`. */
    readonly isLookedAtAgain: boolean;
  }): Hold | null {
    const { partition, part, batch, opened, highWatermark, isLookedAtAgain } = taking;
    const { epoch, next: from } = part;
    const isBehind = batch.lastOffset < from;
    if (isBehind && (batch.damage === null || isLookedAtAgain)) return null;
    // The offsets of a damaged one are a guess, but it holds the record that was asked for.
    const to = Math.max(from, batch.lastOffset) + 1;
    const anchor = { baseOffset: batch.baseOffset, crc: batch.crc };
    const stretch = { partition, epoch, from, to, anchor, highWatermark };
    let hold: Hold | null;
    try {
      if (opened instanceof KafkaError) throw opened;
      opened.skipTo(from);
      hold = sink.accept({ ...stretch, records: opened });
    } catch (error) {
      // The sink throws if the records make no sense: records that it took before are taken again.
      if (!(error instanceof KafkaError)) throw error;
      hold = sink.unreadable({
        ...stretch,
        kind: error instanceof BatchTooLargeError ? 'too_large' : 'damaged',
        reason: error.message,
        bytes: batch.payload,
        timestampMs: batch.maxTimestampMs,
      });
    }
    const taken = hold?.offset ?? to;
    if (taken > from && taken > batch.baseOffset) part.last = anchor;
    part.next = taken;
    return hold;
  }

  /** Pauses a partition, and reads it again from its offset later. */
  function holdPartition(
    life: ConsumerLife,
    partition: number,
    part: OwnedPartition,
    hold: Hold,
  ): void {
    const mine = generation;
    life.consumer.pause([{ topic, partitions: [partition] }]);
    // The offset may lie within a batch, and the log may change meanwhile.
    part.begun = false;
    part.expected = part.last;
    clearTimeout(part.hold ?? undefined);
    part.hold = setTimeout(() => {
      part.hold = null;
      if (mine !== generation || isQuiet || owned.get(partition) !== part) return;
      const offset = String(placeToFetch(part, 0));
      life.consumer.seek({ topic, partition, offset });
      life.consumer.resume([{ topic, partitions: [partition] }]);
    }, hold.retryMs);
  }

  /** Waits for room, and sends heartbeats meanwhile. A rebalance ends the wait by an exception. */
  async function roomWithHeartbeat(payload: EachBatchPayload): Promise<void> {
    for (let full = sink.full(); full !== null && !isStopping; full = sink.full()) {
      const timer = new AbortController();
      const beat = delay(config.consumer.heartbeat_interval_ms, undefined, {
        signal: timer.signal,
      }).catch(() => undefined);
      await Promise.race([full, beat]);
      timer.abort();
      moved();
      watch.progress.blocked();
      // kafkajs sends it when the interval has passed, not before.
      await payload.heartbeat();
    }
  }

  async function supervise(): Promise<void> {
    let backoffMs = BACKOFF_FIRST_MS;
    while (!isStopping) {
      state = 'joining';
      const error = await live(() => {
        state = 'running';
        backoffMs = BACKOFF_FIRST_MS;
      });
      if (isStopping) break;
      state = 'restarting';
      const why = error ?? new Error('the consumer ended without a request to stop');
      const cause = withReadGrant(why, config.kafka, groupId);
      refusal = cause instanceof KafkaError && cause.code === 'kafka_auth' ? cause.message : null;
      logger.error(
        { err: cause, backoff_ms: backoffMs },
        `the consumer failed and is started again: ${messageOf(cause)}`,
      );
      events.onCrash?.(cause, backoffMs);
      await delay(backoffMs, undefined, { signal: stopSignal.signal }).catch(() => undefined);
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
    }
    state = 'stopped';
  }

  return {
    start() {
      installBatchDecoder();
      loop = supervise();
    },
    commit: (positions) => committer.commit(positions),
    quiesce() {
      isQuiet = true;
      watch.progress.assign([]);
      const partitions = owned.numbers;
      if (current !== null && state === 'running') current.consumer.pause([{ topic, partitions }]);
    },
    async stop() {
      isStopping = true;
      isQuiet = true;
      stopSignal.abort();
      await loop;
      committer.stop();
      for (const partition of owned.numbers) owned.disown(partition);
    },
    state: () => state,
    problem: () => refusal ?? watch.problem(),
  };
}
