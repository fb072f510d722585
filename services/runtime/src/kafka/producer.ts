/**
 * Guarantee: when `send` resolves, every record is on all in-sync replicas; a record may be there
 * several times. Records of one `send` keep their order per key, and so do successive `send`s,
 * because only one is ever in flight; a repetition repeats the whole batch in the same order. Only a
 * batch that a broker refuses is taken apart, and its parts arrive in any order.
 *
 * The rule behind it (ADR 0002): kafkajs's own retries and its idempotent producer lose records when
 * a leader moves. So it gets no retries, and after any rejection the whole client is thrown away, a
 * new one is connected and the same batch is sent again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createKafkaClient } from './client.js';
import type { DebugLog } from './client.js';
import { HAS_ZSTD } from './codecs.js';
import type { Codec } from './codecs.js';
import type { KafkaConfig } from './config.js';
import { KafkaError, kafkaErrorOf } from './errors.js';
import { withGrant } from './plan.js';
import { installProduceEncoder, packedPartitioner } from './produce-request.js';
import { keyHashOf, PackedBatch, packRecords, RecordWriter } from './record-packer.js';
import type { RecordFormat } from './record-packer.js';
import { codecOfTopic } from './topic-codec.js';

export interface OutgoingRecord {
  /** Decides the partition: murmur2, as Java's clients do. */
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  readonly headers: Readonly<Record<string, string | Buffer>>;
}

/** How a complete record is written, with all its headers. */
export const outgoingRecordFormat: RecordFormat<OutgoingRecord> = {
  keyHash: ({ key }) => keyHashOf(key),
  write({ key, value, headers }, writer) {
    writer.value(key);
    writer.value(value);
    writer.headers(headers);
  },
};

/**
 * Records that no repetition will get through, though the topic takes others. The other records of the
 * batch are acknowledged.
 */
export class RecordsRefusedError<T = OutgoingRecord> extends KafkaError {
  readonly refused: readonly T[];

  constructor(refused: readonly T[], cause: KafkaError) {
    super('kafka_rejected', `${refused.length} refused permanently: ${cause.message}`, {
      retryable: false,
      type: cause.type,
      cause,
    });
    this.refused = refused;
  }
}

/**
 * Brokers refused every record that was tried, so the topic is at fault and not the records: a broker
 * that checks schemas answers so for a topic without one. No record of this send may be dropped.
 */
export class NothingAcceptedError extends KafkaError {
  constructor(topic: string, refusals: number, cause: KafkaError) {
    super(
      'kafka_rejected',
      `${topic} accepts no event: ${refusals} refusals in a row, the last one ${cause.message}. ` +
        'Events wait. Check max.message.bytes and the schema validation of the topic',
      { retryable: true, type: cause.type, cause },
    );
  }
}

/** A connection that has not failed yet. */
interface Link<T> {
  send(topic: string, records: readonly T[]): Promise<void>;
  /** Ends it at once; requests in flight are rejected. */
  destroy(): void;
}

export interface KafkaProducer<T = OutgoingRecord> {
  /**
   * Sends a batch again and again until it is acknowledged. One call at a time.
   *
   * @throws KafkaError `kafka_aborted` when the signal fired: the batch may or may not be there.
   * @throws RecordsRefusedError when brokers refuse single records permanently (too large, invalid) and
   *   take others: it names them, and all the others of the batch are there.
   * @throws NothingAcceptedError when they refuse all that is tried. Send again, with more records when
   *   there are more: a refused record can be distinguished from a wrong topic only by an accepted one.
   */
  send(topic: string, records: readonly T[], signal: AbortSignal): Promise<void>;
  /** Ends the connection at once. */
  stop(): void;
}

export interface ProducerHooks {
  /** A send was acknowledged, after this long. */
  onAcknowledged?(records: number, durationMs: number): void;
  /** A connect or send failed and will be repeated after `delayMs`. */
  onFailure?(error: KafkaError, attempt: number, delayMs: number): void;
}

const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 2_000;
/**
 * Refusals without an acceptance between them after which the topic is taken to be at fault. A single
 * bad record among 10,000, the largest batch, is found with fewer.
 */
const REFUSALS_MAX = 16;
/**
 * Errors of a broker that the same record will meet every time. INVALID_TIMESTAMP is not one of
 * them: a batch carries the time at which it is packed, so an attempt after the clock was corrected
 * succeeds. Nor is CORRUPT_MESSAGE: every attempt packs the batch again, so damage on the way does
 * not repeat.
 */
const HOPELESS_TYPES = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD']);

export interface ProducerDeps {
  readonly logger: DebugLog;
  /** Part of the client id, such as `proxy`. */
  readonly role: string;
  readonly hooks?: ProducerHooks;
  /**
   * Whether a record counts as refused although no other one was accepted beside it. For callers that lose
   * nothing by it; `NothingAcceptedError` is not thrown then.
   */
  readonly believesRefusals?: boolean;
}

export function createKafkaProducer(config: KafkaConfig, deps: ProducerDeps): KafkaProducer {
  return createFormatProducer(config, outgoingRecordFormat, deps);
}

/** A producer of records that have a format of their own. */
export function createFormatProducer<T>(
  config: KafkaConfig,
  format: RecordFormat<T>,
  deps: ProducerDeps,
): KafkaProducer<T> {
  const writer = new RecordWriter();
  const codecs = codecsOf(config);
  return createResender(
    () => connectLink(config, { format, writer, codecs }, deps),
    deps.hooks ?? {},
    {
      // Connecting (every bootstrap broker may have to be tried), finding the leaders and sending, each
      // with its own limit inside kafkajs: this one is for calls that hang nevertheless.
      attempt_timeout_ms:
        config.request_timeout_ms + 2 * (config.brokers.length + 1) * config.connect_timeout_ms,
      backoff_first_ms: BACKOFF_FIRST_MS,
      backoff_max_ms: BACKOFF_MAX_MS,
      believes_refusals: deps.believesRefusals ?? false,
    },
  );
}

/** Best first: zstd is smaller and six times cheaper than gzip, lz4 as cheap and twice the size. */
const AUTO: readonly Codec[] = HAS_ZSTD ? ['zstd', 'lz4', 'gzip', 'none'] : ['lz4', 'gzip', 'none'];

/** Codecs that may be used, the best first. Codecs that a broker refuses are taken out. */
function codecsOf({ compression }: KafkaConfig): [Codec, ...Codec[]] {
  return compression === 'auto' ? [...(AUTO as [Codec, ...Codec[]])] : [compression];
}

interface Packing<T> {
  readonly format: RecordFormat<T>;
  readonly writer: RecordWriter;
  readonly codecs: [Codec, ...Codec[]];
}

async function connectLink<T>(
  config: KafkaConfig,
  { format, writer, codecs }: Packing<T>,
  deps: ProducerDeps,
): Promise<Link<T>> {
  installProduceEncoder();
  /** Partitions of each topic, as far as they are known. */
  const counts = new Map<string, number>();
  /** The codec of each topic's own setting; null: the topic stores any codec. */
  const stored = new Map<string, Codec | null>();
  const client = createKafkaClient(config, { ...deps, use: 'produce' });
  const producer = client.kafka.producer({
    idempotent: false,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    retry: { retries: 0 },
    createPartitioner: packedPartitioner(counts),
  });
  const destroy = (): void => {
    client.destroy();
    // Clears kafkajs's own timers; nothing is pending any more, so this does not wait.
    producer.disconnect().catch(() => undefined);
  };
  try {
    await producer.connect();
  } catch (error) {
    destroy();
    throw error;
  }
  return {
    destroy,
    async send(topic, records) {
      // The first time kafkajs is asked how many partitions there are, by a batch of nothing that it
      // does not send. A topic that has grown since is met in the same way.
      if (config.compression === 'auto' && !stored.has(topic)) {
        stored.set(topic, await codecOfTopic(client.kafka, topic));
      }
      for (;;) {
        const partitions = counts.get(topic) ?? 0;
        const codec = stored.get(topic) ?? codecs[0];
        const messages =
          partitions === 0
            ? [new PackedBatch(Buffer.alloc(0), 0, 0)]
            : packRecords(records, format, writer, { partitions, codec });
        try {
          await producer.send({ topic, acks: -1, timeout: config.request_timeout_ms, messages });
          return;
        } catch (error) {
          const { type } = kafkaErrorOf(error, 'send');
          if (type === 'UNSUPPORTED_COMPRESSION_TYPE' && codecs.length > 1) {
            if (codec === codecs[0]) codecs.shift();
            stored.set(topic, null);
          } else if ((counts.get(topic) ?? 0) === partitions) {
            throw withGrant(error, config, {
              resource: 'topic',
              name: topic,
              operations: ['Write'],
            });
          }
        }
      }
    },
  };
}

interface ResenderConfig {
  readonly attempt_timeout_ms: number;
  readonly backoff_first_ms: number;
  readonly backoff_max_ms: number;
  readonly believes_refusals: boolean;
}

/** The rule alone, apart from kafkajs, so that it can be tested. */
export function createResender<T>(
  connect: () => Promise<Link<T>>,
  hooks: ProducerHooks,
  config: ResenderConfig,
): KafkaProducer<T> {
  let link: Link<T> | null = null;
  let isSending = false;

  function discard(): void {
    link?.destroy();
    link = null;
  }

  /** One try, which ends at the latest when the signal fires or its time is over. */
  async function attempt(topic: string, records: readonly T[], signal: AbortSignal): Promise<void> {
    let cancel: (() => void) | undefined;
    let timer: NodeJS.Timeout | undefined;
    let isOver = false;
    const cut = new Promise<never>((_resolve, reject) => {
      cancel = () => {
        reject(
          new KafkaError('kafka_aborted', 'send: cancelled by the caller', { retryable: true }),
        );
      };
      signal.addEventListener('abort', cancel, { once: true });
      timer = setTimeout(() => {
        reject(new KafkaError('kafka_timeout', 'send: not finished in time', { retryable: true }));
      }, config.attempt_timeout_ms);
    });
    const work = (async () => {
      if (link === null) {
        const fresh = await connect();
        // Nobody waits for it any more, and another attempt may have begun.
        if (isOver) {
          fresh.destroy();
          return;
        }
        link = fresh;
      }
      await link.send(topic, records);
    })();
    // If the cut wins, the outcome of the work does not matter any more.
    work.catch(() => undefined);
    try {
      await Promise.race([work, cut]);
    } finally {
      isOver = true;
      clearTimeout(timer);
      if (cancel !== undefined) signal.removeEventListener('abort', cancel);
    }
  }

  /** Null when acknowledged, else the refusal that a repetition would meet again. */
  async function sendUntilAnswered(
    topic: string,
    records: readonly T[],
    signal: AbortSignal,
  ): Promise<KafkaError | null> {
    for (let failures = 0; ;) {
      if (signal.aborted) {
        throw new KafkaError('kafka_aborted', 'send: cancelled by the caller', { retryable: true });
      }
      const startedAt = performance.now();
      try {
        // One after the other is the point.
        await attempt(topic, records, signal);
        hooks.onAcknowledged?.(records.length, performance.now() - startedAt);
        return null;
      } catch (thrown) {
        const error = kafkaErrorOf(thrown, `send to ${topic}`);
        // The broker has answered in order, so the connection is sound.
        if (error.type !== null && HOPELESS_TYPES.has(error.type)) return error;
        discard();
        if (error.code === 'kafka_aborted') throw error;
        const delayMs = backoffMs(config, failures);
        failures += 1;
        hooks.onFailure?.(error, failures, delayMs);
        await delay(delayMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /**
   * Sends a batch, and halves a refused one until single records are left: a response of version 7
   * names none. Of two halves one is tried first by chance, so that a repetition takes another way to
   * the first record that is accepted.
   */
  async function deliver(topic: string, records: readonly T[], signal: AbortSignal): Promise<void> {
    const parts = [records];
    const refused: T[] = [];
    /** Refused before anything was accepted: the topic may have been at fault. */
    let suspects: T[] = [];
    let isTopicSound = config.believes_refusals;
    let inARow = 0;
    let last: KafkaError | null = null;
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      const refusal = await sendUntilAnswered(topic, part, signal);
      if (refusal === null) {
        inARow = 0;
        isTopicSound = true;
        parts.push(...suspects.map((record) => [record]));
        suspects = [];
        continue;
      }
      last = refusal;
      inARow += 1;
      if (part.length > 1) parts.push(...halvesOf(part));
      else (isTopicSound ? refused : suspects).push(...part);
      const isOut = parts.length === 0 && !isTopicSound;
      if (isOut || (inARow >= REFUSALS_MAX && !config.believes_refusals)) {
        const error = new NothingAcceptedError(topic, inARow, refusal);
        hooks.onFailure?.(error, inARow, 0);
        throw error;
      }
      await delay(backoffMs(config, inARow - 1), undefined, { signal }).catch(() => undefined);
    }
    if (last !== null && refused.length > 0) throw new RecordsRefusedError(refused, last);
  }

  return {
    async send(topic, records, signal) {
      if (isSending) throw new Error('one send at a time');
      if (records.length === 0) return;
      isSending = true;
      try {
        await deliver(topic, records, signal);
      } finally {
        isSending = false;
      }
    },
    stop: discard,
  };
}

/** Two halves, in an order by chance. */
function halvesOf<T>(records: readonly T[]): (readonly T[])[] {
  const middle = records.length >> 1;
  const halves = [records.slice(0, middle), records.slice(middle)];
  return Math.random() < 0.5 ? halves : halves.toReversed();
}

/** Doubles from the first to the largest delay, less up to half by chance, so that proxies do not march in step. */
function backoffMs(config: ResenderConfig, failures: number): number {
  const full = Math.min(
    config.backoff_max_ms,
    config.backoff_first_ms * 2 ** Math.min(failures, 20),
  );
  return Math.round(full * (0.5 + Math.random() / 2));
}
