/**
 * One member of a consumer group on one topic. Delivery is at least once: an offset is committed
 * when the caller says that everything below it is durable, and never before.
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
import { createConsumerLife } from './consumer-life.js';
import type { ConsumerLife } from './consumer-life.js';
import { BatchTooLargeError } from './codecs.js';
import { KafkaError, kafkaErrorOf } from './errors.js';
import { batchOf, installBatchDecoder } from './fetch-response.js';
import { createGroupWatch } from './group-watch.js';
import { withGrant } from './plan.js';
import { openBatch } from './record-batch.js';
import type { RecordBatch, RecordCursor } from './record-batch.js';
import { formatAnchor, parseAnchor, startOf } from './start-offset.js';
import type { Anchor, StartReason } from './start-offset.js';

/** Records of one partition, [from, to), which begin where those before them ended. */
export interface ConsumedBatch {
  readonly partition: number;
  /** Names one stretch of owning the partition; a commit for another stretch is dropped. */
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  /** Names the batch that ends at `to`; committed beside it. */
  readonly anchor: Anchor;
  /** End of the partition when it was fetched. */
  readonly highWatermark: number;
  /** To be read through at once: its bytes are not kept. */
  readonly records: RecordCursor;
}

/** A stretch of a partition that cannot be read. */
export type UnreadableBatch = Omit<ConsumedBatch, 'records'> & {
  /** `too_large`: it could be read with a higher `batch_max_bytes`. */
  readonly kind: 'damaged' | 'too_large';
  readonly reason: string;
  /** As it is stored, without its header. */
  readonly bytes: Buffer;
  readonly timestampMs: number;
};

/** A partition goes no further for now; the others do. */
export interface Hold {
  /** Everything before it was taken. */
  readonly offset: number;
  /** Milliseconds until it is read again from there. */
  readonly retryMs: number;
}

/** Where batches go. */
export interface BatchSink {
  /** Null if there is room for another batch, else a promise that resolves when there may be. */
  full(): Promise<void> | null;
  /**
   * Takes a batch at once, up to the offset of a hold; null: all of it. Taken records come again
   * only if the process or the assignment ends.
   */
  accept(batch: ConsumedBatch): Hold | null;
  /** Decides about what cannot be read: null passes over it. */
  unreadable(batch: UnreadableBatch): Hold | null;
}

/** Everything below `offset` is durable. */
export type CommitPosition = Pick<ConsumedBatch, 'partition' | 'epoch' | 'anchor'> & {
  readonly offset: number;
};

export type ConsumerState = 'stopped' | 'joining' | 'running' | 'restarting';

export interface ConsumerEvents {
  /** A partition starts, or restarts while it is read; `lost` counts deleted records. */
  onStart?(start: { partition: number; offset: number; reason: StartReason; lost: number }): void;
  onAssignment?(partitions: readonly number[]): void;
  /** kafkajs ended; it is started again after `backoffMs`. */
  onCrash?(error: Error, backoffMs: number): void;
  onCommit?(error: Error | null): void;
  /** This process cannot recover: it should end and be started again. */
  onHopeless?(error: Error): void;
}

export interface GroupConsumer {
  /** Begins to join; that is repeated until `stop`. */
  start(): void;
  /** Commits what it is given; false where the broker did not take it: it is tried again with the next. */
  commit(positions: readonly CommitPosition[]): Promise<boolean>;
  /** Takes no more batches; the member stays in the group, so that what is held can still be committed. */
  quiesce(): void;
  /** Leaves the group and closes its connections. */
  stop(): Promise<void>;
  state(): ConsumerState;
  /** Problems of the group or of our partitions; null if there are none. */
  problem(): string | null;
  /** Milliseconds since something last moved: a fetch, a batch, a heartbeat. */
  idleMs(): number;
}

/** A partition that is ours. */
interface Owned {
  readonly epoch: number;
  /** The group's committed offset as far as we know; [committed, next) is held by us. */
  committed: number;
  next: number;
  /** Durable, but not yet committed. */
  durable: { offset: number; anchor: Anchor } | null;
  /** What the record before `next` must be part of; checked with the first batch. */
  expected: Anchor | null;
  /** Whether a batch was read: `next` then lies between two batches. */
  begun: boolean;
  /** Names the batch before `next`, null before the first. */
  last: Anchor | null;
  /** Of the leader that wrote it. */
  leaderEpoch: number;
  hold: NodeJS.Timeout | null;
}

/** A batch that can be read, or why not. */
type Opened = RecordCursor | KafkaError;

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 15_000;
/** A consumer without any sign of life for so many session timeouts is thrown away. */
const WATCHDOG_SESSION_TIMEOUTS = 2;

export function createGroupConsumer(
  config: { readonly kafka: KafkaConfig; readonly consumer: ConsumerConfig },
  deps: { readonly logger: Logger; readonly sink: BatchSink; readonly events?: ConsumerEvents },
): GroupConsumer {
  const { sink, logger } = deps;
  const events = deps.events ?? {};
  const { topic } = config.kafka;
  const groupId = config.consumer.group_id;
  const owned = new Map<number, Owned>();
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
  let lastEpoch = 0;
  /** Counts the joins of all lives, so that what belongs to an earlier one is recognised. */
  let generation = 0;
  let state: ConsumerState = 'stopped';
  /** What Kafka refused us, until something is read again. */
  let refusal: string | null = null;
  let lastMoveMs = Date.now();
  let current: ConsumerLife | null = null;
  let isQuiet = false;
  let isStopping = false;
  const stopSignal = new AbortController();
  let loop: Promise<void> = Promise.resolve();

  const moved = () => {
    lastMoveMs = Date.now();
  };

  /** One life of a kafkajs consumer; resolves when it has ended, for whatever reason. */
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
    consumer.on('consumer.fetch', lives);
    consumer.on('consumer.fetch', () => {
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
      // Nothing of what is known about them may be the cause.
      for (const partition of still) owned.delete(partition);
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
    for (const partition of owned.keys()) {
      if (!partitions.includes(partition)) disown(partition);
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
        // Repeated until it works: without it there is no telling where to begin.
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
          const fetchFrom = begin(
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

  /** The offset to fetch from, and the books for it. */
  function begin(
    partition: number,
    committed: { offset: number; anchor: Anchor | null },
    range: { low: number; high: number },
  ): number {
    const held = owned.get(partition);
    if (
      held !== undefined &&
      held.committed <= committed.offset &&
      committed.offset <= held.next &&
      held.next <= range.high
    ) {
      // What we hold continues the group's offset: nothing needs to be read again.
      held.committed = committed.offset;
      return placeToFetch(held, range.low);
    }
    const start = startOf(committed.offset, range);
    const part = own(partition, start.offset, committed.offset);
    events.onStart?.({ partition, ...start });
    if (start.reason === 'committed') part.expected = committed.anchor;
    return placeToFetch(part, range.low);
  }

  /**
   * One record earlier, to recognise the batch that was read last: it comes again. That holds until
   * a batch has come, however often the assignment changes or the consumer is restarted before.
   */
  function placeToFetch(part: Owned, low: number): number {
    if (part.expected === null) return part.next;
    if (part.next > low) return part.next - 1;
    // That batch is gone.
    part.expected = null;
    return part.next;
  }

  function own(partition: number, next: number, committed: number): Owned {
    lastEpoch += 1;
    const part: Owned = {
      epoch: lastEpoch,
      committed,
      next,
      durable: null,
      expected: null,
      begun: false,
      last: null,
      leaderEpoch: -1,
      hold: null,
    };
    disown(partition);
    owned.set(partition, part);
    return part;
  }

  function disown(partition: number): void {
    const part = owned.get(partition);
    clearTimeout(part?.hold ?? undefined);
    owned.delete(partition);
  }

  /** Begins a partition again from its oldest record, under an epoch of its own. */
  function restart(life: ConsumerLife, partition: number, low: number, reason: StartReason): void {
    own(partition, low, -1);
    events.onStart?.({ partition, offset: low, reason, lost: 0 });
    life.consumer.seek({ topic, partition, offset: String(low) });
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
      const opening = openWithin(recordBatch, from, ahead);
      await roomWithHeartbeat(payload);
      const opened: Opened = await opening;
      if (isStale()) return;
      const isLookedAtAgain = (owned.get(partition)?.expected ?? null) !== null;
      if (!check(life, partition, recordBatch)) return;
      const part = owned.get(partition);
      if (part === undefined) return;
      const next = batches[index + 1];
      // The next one is decompressed on another thread while this one is read.
      const heldBytes = opened instanceof KafkaError ? 0 : opened.bytes.length;
      ahead = next === undefined ? null : tryOpen(next, part.next, heldBytes);
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
    readonly part: Owned;
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
      // The sink throws where the records make no sense: what it took before is taken again.
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
  function holdPartition(life: ConsumerLife, partition: number, part: Owned, hold: Hold): void {
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

  /** An error instead of a rejection, because nobody may be waiting for it. */
  async function tryOpen(batch: RecordBatch, from: number, heldBytes: number): Promise<Opened> {
    try {
      return await openBatch(batch, from, config.consumer.batch_max_bytes - heldBytes);
    } catch (cause) {
      return kafkaErrorOf(cause, 'record batch');
    }
  }

  /** Beside the batch before it, it may have found too little memory: then alone. */
  async function openWithin(
    batch: RecordBatch,
    from: number,
    ahead: Promise<Opened> | null,
  ): Promise<Opened> {
    const opened = await ahead;
    const isToRepeat = opened === null || opened instanceof BatchTooLargeError;
    return isToRepeat ? tryOpen(batch, from, 0) : opened;
  }

  /**
   * Whether a batch continues the previous one. If not, reports it and restarts the partition if
   * needed.
   */
  function check(life: ConsumerLife, partition: number, batch: RecordBatch): boolean {
    const part = owned.get(partition);
    if (part === undefined) return false;
    const low = batch.logStartOffset;
    const { expected } = part;
    part.expected = null;
    // A batch that cannot be read proves nothing.
    if (batch.damage !== null) return true;
    const isOtherLeader = part.begun && batch.leaderEpoch > part.leaderEpoch;
    part.leaderEpoch = Math.max(part.leaderEpoch, batch.leaderEpoch);
    if (isOtherLeader && part.last !== null && part.next > low) {
      // An unclean election may have replaced what was read: its last batch is looked at again.
      part.begun = false;
      part.expected = part.last;
      life.consumer.seek({ topic, partition, offset: String(part.next - 1) });
      return false;
    }
    if (batch.baseOffset < part.next) {
      if (part.begun) {
        // kafkajs went back to the oldest record because the offset was out of range.
        restart(life, partition, low, 'beyond_end');
        return false;
      }
      const isOther =
        expected !== null &&
        (expected.baseOffset !== batch.baseOffset || expected.crc !== batch.crc);
      if (isOther) {
        restart(life, partition, low, 'replaced');
        return false;
      }
    }
    part.begun = true;
    if (low > part.next) {
      events.onStart?.({ partition, offset: low, reason: 'expired', lost: low - part.next });
      part.next = low;
    }
    return true;
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

  /** With the command that grants the missing permission. */
  function named(error: Error): Error {
    const { type } = kafkaErrorOf(error, 'consumer');
    const resource = type?.startsWith('GROUP') === true ? 'group' : 'topic';
    const name = resource === 'group' ? groupId : topic;
    const known = withGrant(error, config.kafka, { resource, name, operations: ['Read'] });
    return known.code === 'kafka_auth' ? known : error;
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
      const cause = named(error ?? new Error('the consumer ended without a request to stop'));
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
    async commit(positions) {
      for (const { partition, epoch, offset, anchor } of positions) {
        const part = owned.get(partition);
        if (part?.epoch === epoch && offset > (part.durable?.offset ?? -1)) {
          part.durable = { offset, anchor };
        }
      }
      const due = [...owned].flatMap(([partition, part]) =>
        part.durable === null ? [] : [{ partition, part, durable: part.durable }],
      );
      if (due.length === 0) return true;
      if (current === null || state !== 'running') return false;
      try {
        await current.consumer.commitOffsets(
          due.map(({ partition, durable }) => ({
            topic,
            partition,
            offset: String(durable.offset),
            metadata: formatAnchor(durable.anchor),
          })),
        );
        for (const { part, durable } of due) {
          part.committed = Math.max(part.committed, durable.offset);
          if (part.durable === durable) part.durable = null;
        }
        events.onCommit?.(null);
        return true;
      } catch (cause) {
        const error = kafkaErrorOf(cause, 'commit');
        logger.warn({ err: error }, 'offsets were not committed; the next batch tries again');
        events.onCommit?.(error);
        return false;
      }
    },
    quiesce() {
      isQuiet = true;
      watch.progress.assign([]);
      const partitions = [...owned.keys()];
      if (current !== null && state === 'running') current.consumer.pause([{ topic, partitions }]);
    },
    async stop() {
      isStopping = true;
      isQuiet = true;
      stopSignal.abort();
      await loop;
      for (const partition of owned.keys()) disown(partition);
    },
    state: () => state,
    problem: () => refusal ?? watch.problem(),
    idleMs: () => Date.now() - lastMoveMs,
  };
}
