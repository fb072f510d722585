/**
 * Child process that fills a topic with a part of the workload, as a proxy would: the same encoding,
 * headers, compression and acknowledgement. Prints the totals of the events, as one line of JSON.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger } from '@sockscope/runtime';
import { createKafkaProducer, kafkaConfig } from '@sockscope/runtime/kafka';
import type { OutgoingRecord } from '@sockscope/runtime/kafka';
import { cloudEventHeaders } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { createTally, workload } from './workload.js';
import type { WorkloadOptions } from './workload.js';

export interface FillerTask {
  readonly brokers: string[];
  readonly topic: string;
  readonly workload: WorkloadOptions;
  /** Each event is sent when its time has come; otherwise all are sent at once. */
  readonly paced: boolean;
  /**
   * Events are made while they are sent, up to this time, milliseconds since 1970. Events from before the
   * beginning are sent at once, as a proxy does after an outage of the network.
   */
  readonly untilMs?: number;
}

const SEND_RECORDS = 2_000;
/** A paced batch holds the events that came due within this time, as in the proxy's publisher. */
const PACE_MS = 50;

const [message] = (await once(process, 'message')) as [FillerTask];
const task = message;
// The peers read with plain kafkajs, which has no codec but gzip.
const kafka = kafkaConfig.parse({
  brokers: task.brokers,
  topic: task.topic,
  compression: 'gzip',
});
const producer = createKafkaProducer(kafka, {
  logger: createLogger('filler', { level: 'error' }),
  role: 'bench',
});
const never = new AbortController().signal;
// A run without an end would hold every session.
const tally = createTally({ countsSessions: task.untilMs === undefined });
let waiting: OutgoingRecord[] = [];
let sending: Promise<void> = Promise.resolve();

async function flush(): Promise<void> {
  const records = waiting;
  waiting = [];
  await sending;
  sending = producer.send(task.topic, records, never);
  // Lets the send begin while the next batch is made.
  await new Promise((resolve) => setImmediate(resolve));
}

function recordOf(event: SessionEvent): OutgoingRecord {
  const value = JSON.stringify(event);
  tally.add(event, value.length);
  return {
    key: event.session_id,
    value: Buffer.from(value),
    headers: cloudEventHeaders(event),
  };
}

/** Fills the topic as fast as possible. */
async function fill(): Promise<void> {
  for (const event of workload(task.workload)) {
    waiting.push(recordOf(event));
    if (waiting.length >= SEND_RECORDS) await flush();
  }
}

/**
 * Each event when its time has come. All are made before the first one's time, because a slow machine
 * that makes them meanwhile runs late, and the figures would show that.
 */
async function fillInTime(): Promise<void> {
  const made = Array.from(workload(task.workload), (event) => ({
    atMs: Date.parse(event.occurred_at),
    record: recordOf(event),
  }));
  const lateMs = Date.now() - task.workload.startMs;
  if (lateMs > 0) throw new Error(`the events were ready ${lateMs} ms after their time`);
  let paceEndMs = task.workload.startMs + PACE_MS;
  for (const { atMs, record } of made) {
    if (atMs > paceEndMs) {
      await flush();
      paceEndMs = Math.max(paceEndMs + PACE_MS, atMs);
      const waitMs = paceEndMs - Date.now();
      if (waitMs > 0) await delay(waitMs);
    }
    waiting.push(record);
    if (waiting.length >= SEND_RECORDS) await flush();
  }
}

/** Fills the topic until a time. Late events are sent as fast as possible. */
async function fillUntil(untilMs: number): Promise<void> {
  let paceEndMs = 0;
  for (const event of workload(task.workload)) {
    const atMs = Date.parse(event.occurred_at);
    if (atMs > untilMs) return;
    if (atMs > paceEndMs) {
      await flush();
      paceEndMs = atMs + PACE_MS;
      const waitMs = paceEndMs - Date.now();
      if (waitMs > 0) await delay(waitMs);
    }
    waiting.push(recordOf(event));
    if (waiting.length >= SEND_RECORDS) await flush();
  }
}

async function run(): Promise<void> {
  if (task.untilMs !== undefined) return fillUntil(task.untilMs);
  return task.paced ? fillInTime() : fill();
}

await run();
await flush();
await sending;
producer.stop();
process.stdout.write(`${JSON.stringify(tally.totals())}\n`);
process.disconnect();
