/** A topic, a consumer group and a database of its own on the real Kafka and ClickHouse. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createLogger } from '@sockscope/runtime';
import {
  createKafkaAdmin,
  createKafkaProducer,
  kafkaConfig,
  readTopic,
} from '@sockscope/runtime/kafka';
import type { KafkaAdmin, OutgoingRecord } from '@sockscope/runtime/kafka';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { cloudEventHeaders, dlqTopicOf } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { LONG_SESSION_MS } from '@sockscope/schemas/sums';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { expect } from 'vitest';
import { verify } from '../maintenance/verify.js';
import { startIngestChild } from './child.js';
import type { IngestChild } from './child.js';
import { createTestTables, NOTHING_EXPIRES } from './fold-into-tables.js';
import type { Step } from './steps.js';
import { expectTablesEqualFold } from './table-state.js';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const POLL_MS = 100;
const WAIT_MS = 180_000;
/** Characters at the end of an ingest's log that an error shows. */
const LOG_CHARS = 6_000;
const DAY_MS = 86_400_000;
const SEND_RECORDS = 200;

export interface Bed {
  readonly topic: string;
  readonly group: string;
  readonly clickhouse: ClickHouse;
  readonly admin: KafkaAdmin;
  /** Every event that was produced so far. */
  readonly events: readonly SessionEvent[];
  /** Produces a number of sessions, their events interleaved, and remembers them. */
  produce(sessions: number): Promise<void>;
  /** @param topic the bed's, if it is not given. */
  produceRecords(records: readonly OutgoingRecord[], topic?: string): Promise<void>;
  /** One session on each day of a range. */
  produceDays(days: number): Promise<void>;
  /** Drops the events from this one on: they will not be found in the tables. */
  forget(from: number): void;
  /** Deletes the topic and creates it again, empty. */
  recreateTopic(): Promise<void>;
  /** Every record of a topic, to its end. */
  readTopic(name: string): Promise<TopicRecord[]>;
  /** Starts an ingest process; it is killed at the latest when the bed is removed. */
  start(options?: { pauseAt?: Step; env?: Readonly<Record<string, string>> }): IngestChild;
  /** Resolves when the group has committed everything that is in the topic. */
  committed(group?: string): Promise<void>;
  /**
   * Checks the tables twice: against the oracle's fold of all produced events, and against the topic
   * with `ingest verify`, which folds in another way.
   */
  expectExact(): Promise<void>;
  /** The second half of that alone, if not all events can be in the tables. */
  expectVerified(): Promise<void>;
  /** Runs a command of ingest. Resolves with its output. @throws if it fails. */
  command(...args: string[]): Promise<string>;
  remove(): Promise<void>;
}

export interface TopicRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: ReadonlyMap<string, string>;
}

/** @param state told by the error if it is not true in time. */
export async function waitUntil(
  what: string,
  isTrue: () => Promise<boolean>,
  state = () => '',
): Promise<void> {
  const endMs = Date.now() + WAIT_MS;
  while (!(await isTrue())) {
    if (Date.now() > endMs) throw new Error(`${what}: not within ${WAIT_MS} ms${state()}`);
    await delay(POLL_MS);
  }
}

export async function createBed(options: {
  readonly brokers: readonly string[];
  readonly clickhouseUrl: string;
  readonly partitions?: number;
  readonly seed?: number;
  /** Settings of the topic that differ from the brokers' own. */
  readonly topicSettings?: Readonly<Record<string, string>>;
}): Promise<Bed> {
  const name = `ingest-${randomBytes(5).toString('hex')}`;
  const logger = createLogger('test', { level: 'fatal' });
  const kafka = kafkaConfig.parse({ brokers: [...options.brokers], topic: name });
  const admin = createKafkaAdmin(kafka, { logger, role: 'test' });
  const producer = createKafkaProducer(kafka, { logger, role: 'test' });
  const tables = await createTestTables(options.clickhouseUrl);
  const partitions = options.partitions ?? 3;
  await admin.ensureTopic({
    name,
    partitions,
    replicationFactor: null,
    settings: options.topicSettings ?? {},
  });
  await admin.ensureTopic({ name: dlqTopicOf(name), partitions: 2, replicationFactor: null });
  const random = seededRandom(options.seed ?? 1);
  const events: SessionEvent[] = [];
  const children: IngestChild[] = [];
  // So long ago that every hour is over, and all of its sums are due at once; and over midnight, so that
  // there are two days.
  const startMs = Date.now() - (Date.now() % DAY_MS) - DAY_MS - 60_000;

  async function produceRecords(records: readonly OutgoingRecord[], topic = name): Promise<void> {
    await producer.send(topic, records, AbortSignal.timeout(WAIT_MS));
  }

  async function produceLogs(logs: SessionEvent[][]): Promise<void> {
    const interleaved: SessionEvent[] = [];
    for (let left = logs.filter((log) => log.length > 0); left.length > 0;) {
      const log = left[Math.floor(random() * left.length)];
      const next = log?.shift();
      if (next !== undefined) interleaved.push(next);
      left = left.filter((each) => each.length > 0);
    }
    events.push(...interleaved);
    // Several sends, so that there are several record batches.
    for (let at = 0; at < interleaved.length; at += SEND_RECORDS) {
      await produceRecords(
        interleaved.slice(at, at + SEND_RECORDS).map((event) => ({
          key: event.session_id,
          value: JSON.stringify(event),
          headers: cloudEventHeaders(event),
        })),
      );
    }
  }

  const base = {
    KAFKA_BROKERS: options.brokers.join(','),
    KAFKA_TOPIC: name,
    KAFKA_GROUP_ID: name,
    CLICKHOUSE_URL: options.clickhouseUrl,
    CLICKHOUSE_DATABASE: tables.clickhouse.database,
    // As in the tables: hours of which something might have expired would be left without sums.
    RETENTION_TRAFFIC: '0s',
    RETENTION_EVENTS: '0s',
    RETENTION_PAIRS_HOURS: '0s',
  };

  async function expectVerified(): Promise<void> {
    const verification = await verify(
      { kafka, retention: NOTHING_EXPIRES, timeoutMs: WAIT_MS, recheckMs: POLL_MS },
      { clickhouse: tables.clickhouse, logger, onProgress: () => undefined },
    );
    const { isEqual, stops } = verification;
    expect({ isEqual, stops }, `ingest verify: ${JSON.stringify(verification)}`).toEqual({
      isEqual: true,
      stops: [],
    });
  }

  return {
    topic: name,
    group: name,
    clickhouse: tables.clickhouse,
    admin,
    events,
    produce: (sessions) =>
      produceLogs(
        Array.from({ length: sessions }, (_, i) =>
          sessionLog({
            random,
            startMs: startMs + Math.floor(random() * 120_000),
            // Some get old enough for `long_sessions`.
            silentMs: i % 5 === 4 ? LONG_SESSION_MS : 0,
          }),
        ),
      ),
    produceDays: (days) =>
      produceLogs(
        Array.from({ length: days }, (_, day) =>
          sessionLog({ random, startMs: startMs - day * DAY_MS }),
        ),
      ),
    forget(from) {
      events.splice(from);
    },
    async recreateTopic() {
      await admin.deleteTopic(name);
      await waitUntil('the topic is gone', async () => (await admin.describeTopic(name)) === null);
      await admin.ensureTopic({ name, partitions, replicationFactor: null });
    },
    async readTopic(topic) {
      const records: TopicRecord[] = [];
      await readTopic(
        { kafka, topic },
        {
          onBatch(batch) {
            while (batch.records.next()) {
              const { key, value, headers } = batch.records.record();
              records.push({
                key,
                value,
                headers: new Map(headers.map(([key_, each]) => [key_, each?.toString() ?? ''])),
              });
            }
          },
        },
        { logger },
      );
      return records;
    },
    produceRecords,
    start({ pauseAt, env } = {}) {
      const child = startIngestChild(
        {
          ...base,
          KAFKA_SESSION_TIMEOUT: '3s',
          KAFKA_HEARTBEAT_INTERVAL: '300ms',
          KAFKA_METADATA_MAX_AGE: '1s',
          INGEST_OPS_LISTEN: '127.0.0.1:0',
          INGEST_INSERT_TIMEOUT: '2500ms',
          INGEST_BATCH_AGE: '100ms',
          INGEST_ROLLUP_QUIET: '0s',
          // The tests' sessions are of yesterday, and some stay open: none is to be declared lost.
          INGEST_LOST_INTERVAL: '1h',
          LOG_LEVEL: 'info',
          ...env,
        },
        pauseAt,
      );
      children.push(child);
      return child;
    },
    async committed(group = name) {
      let missing: readonly string[] = [];
      await waitUntil(
        `group ${group} commits all of ${name}`,
        async () => {
          const ends = await admin.describeTopic(name).catch(() => null);
          if (ends === null) return false;
          const offsets = await admin.groupOffsets(group, name);
          missing = ends
            .filter(
              ({ partition, endOffset, earliestOffset }) =>
                endOffset !== earliestOffset && offsets.get(partition) !== endOffset,
            )
            .map(
              ({ partition, endOffset }) =>
                `${partition}: ${offsets.get(partition)} of ${endOffset}`,
            );
          return missing.length === 0;
        },
        () =>
          `; partitions ${missing.join(', ')}\n${children.map((each) => each.log().slice(-LOG_CHARS)).join('\n')}`,
      );
    },
    async expectExact() {
      await expectTablesEqualFold(tables.clickhouse, events);
      await expectVerified();
    },
    expectVerified,
    async command(...args) {
      const env = { ...process.env, ...base };
      const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args], { env });
      return stdout;
    },
    async remove() {
      await Promise.all(
        children
          .filter((each) => each.process.exitCode === null && each.process.signalCode === null)
          .map((each) => each.end()),
      );
      producer.stop();
      await admin.deleteTopic(name).catch(() => undefined);
      await admin.deleteTopic(dlqTopicOf(name)).catch(() => undefined);
      await admin.stop();
      await tables.drop();
    },
  };
}
