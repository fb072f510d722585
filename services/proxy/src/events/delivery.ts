/**
 * Sends frames to Kafka, and keeps permanently refused ones. Logs when Kafka is away and when
 * it is back, at a bounded rate.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  createFormatProducer,
  NothingAcceptedError,
  RecordsRefusedError,
} from '@sockscope/runtime/kafka';
import type { KafkaProducer, ProducerHooks, RecordFormat } from '@sockscope/runtime/kafka';
import { cloudEventHeaders } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import type { Frame } from './frame.js';
import type { BackendConfig, DeliveryStats, Outage, PublishFailures } from './messages.js';
import { createEventRecordFormat } from './record.js';
import { RefusedStore } from './refused/store.js';

export type CreateProducer = (
  hooks: ProducerHooks,
  format: RecordFormat<Frame>,
) => KafkaProducer<Frame>;

export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  fields: Record<string, unknown>,
  message: string,
) => void;

const LOG_INTERVAL_MS = 30_000;
/** Pause while refused events cannot be kept. */
const REFUSED_RETRY_MS = 2_000;

export class Delivery {
  readonly #topic: string;
  readonly #store: RefusedStore;
  readonly #log: Log;
  readonly #createProducer: CreateProducer;
  readonly #failures = new Map<string, PublishFailures>();
  #outage: Outage | null = null;
  #nextLogMs = 0;
  #counts: Omit<DeliveryStats, 'failures' | 'outage'> = {
    published: 0,
    refused: 0,
    requestsMs: [],
    agesMs: [],
  };

  constructor(
    config: Pick<BackendConfig, 'events' | 'kafka' | 'proxy_id'>,
    log: Log,
    createProducer?: CreateProducer,
  ) {
    const { events, kafka, proxy_id } = config;
    this.#topic = kafka.topic;
    this.#store = new RefusedStore({ ...events, proxy_id });
    this.#log = log;
    this.#createProducer =
      createProducer ??
      ((hooks, format) =>
        createFormatProducer(kafka, format, {
          role: proxy_id,
          logger: {
            debug: (fields, message) => {
              log('debug', { ...fields }, message);
            },
          },
          hooks,
        }));
  }

  /** Returns the way of one proxy's frames to Kafka. It connects at its first send. */
  connect(proxyId: string): KafkaProducer<Frame> {
    const hooks: ProducerHooks = {
      onAcknowledged: (_records, durationMs) => {
        this.#counts.requestsMs.push(durationMs);
        if (this.#outage === null) return;
        this.#log(
          'info',
          { outage_seconds: this.#outageSeconds },
          'Kafka acknowledges events again',
        );
        this.#outage = null;
        this.#nextLogMs = 0;
      },
      onFailure: ({ code, type, message }, attempt, delayMs) => {
        const kind = { code, type: type ?? 'none' };
        const key = `${kind.code}/${kind.type}`;
        this.#failures.set(key, { ...kind, count: (this.#failures.get(key)?.count ?? 0) + 1 });
        const fields = { code, type, attempt, retry_in_ms: delayMs };
        this.#waits('warn', fields, message);
      },
    };
    return this.#createProducer(hooks, createEventRecordFormat(proxyId));
  }

  /**
   * Sends frames until each of them is acknowledged, or refused and kept on disk.
   *
   * @returns false if Kafka accepts nothing, or if the signal fired: send the same frames again then.
   */
  async send(
    producer: KafkaProducer<Frame>,
    frames: readonly Frame[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const [first] = frames;
    if (first === undefined) return true;
    let refused: readonly Frame[] = [];
    try {
      await producer.send(this.#topic, frames, signal);
    } catch (error) {
      if (signal.aborted || error instanceof NothingAcceptedError) return false;
      if (!(error instanceof RecordsRefusedError)) throw error;
      ({ refused } = error as RecordsRefusedError<Frame>);
      while (!this.#keep(refused, error.message)) {
        await delay(REFUSED_RETRY_MS, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) return false;
      }
    }
    this.#counts.published += frames.length - refused.length;
    this.#counts.agesMs.push(Math.max(0, Date.now() - first.occurredAtMs));
    return true;
  }

  takeStats(): DeliveryStats {
    const counts = this.#counts;
    this.#counts = { ...counts, requestsMs: [], agesMs: [] };
    return { ...counts, failures: [...this.#failures.values()], outage: this.#outage };
  }

  get #outageSeconds(): number {
    return Math.round((Date.now() - (this.#outage?.sinceMs ?? Date.now())) / 1_000);
  }

  /** False if refused events have no place on disk: all wait then. */
  #keep(frames: readonly Frame[], reason: string): boolean {
    const fields = { count: frames.length, reason };
    const refused_at = new Date().toISOString();
    const events = frames.map(({ json: value }) => {
      const event = JSON.parse(value) as SessionEvent;
      const headers = { ...cloudEventHeaders(event) };
      return { refused_at, topic: this.#topic, reason, key: event.session_id, value, headers };
    });
    const trouble = this.#store.keep(events);
    if (trouble !== null) {
      this.#waits('error', fields, `refused events cannot be stored: ${trouble}`);
      return false;
    }
    this.#counts.refused += frames.length;
    this.#log(
      'error',
      fields,
      'Kafka refuses events permanently; they are kept, see the command: refused list',
    );
    return true;
  }

  #waits(level: 'warn' | 'error', fields: Record<string, unknown>, why: string): void {
    this.#outage = { sinceMs: this.#outage?.sinceMs ?? Date.now(), why };
    if (Date.now() < this.#nextLogMs) return;
    this.#nextLogMs = Date.now() + LOG_INTERVAL_MS;
    const outage_seconds = this.#outageSeconds;
    this.#log(level, { ...fields, outage_seconds }, `events wait for Kafka: ${why}`);
  }
}
