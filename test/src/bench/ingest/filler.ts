/**
 * Child process that fills a topic with a part of the workload, as a proxy would: the same encoding,
 * headers, compression and acknowledgement. Prints what the events add up to, as one line of JSON.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger } from '@sockscope/runtime';
import { createKafkaProducer, kafkaConfig } from '@sockscope/runtime/kafka';
import type { OutgoingRecord } from '@sockscope/runtime/kafka';
import { cloudEventHeaders } from '@sockscope/schemas';
import { createTally, workload } from './workload.js';
import type { WorkloadOptions } from './workload.js';

export interface FillerTask {
  readonly brokers: string[];
  readonly topic: string;
  readonly workload: WorkloadOptions;
  /** Events a second, each emitted when its time has come; null: as fast as it goes. */
  readonly paced: boolean;
}

const SEND_RECORDS = 2_000;
/** A paced batch is what came due within so long, as in the proxy's publisher. */
const PACE_MS = 50;

const [message] = (await once(process, 'message')) as [FillerTask];
const task = message;
const kafka = kafkaConfig.parse({ brokers: task.brokers, topic: task.topic });
const producer = createKafkaProducer(kafka, {
  logger: createLogger('filler', { level: 'error' }),
  role: 'bench',
});
const never = new AbortController().signal;
const tally = createTally();
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

let paceEndMs = task.workload.startMs + PACE_MS;
for (const event of workload(task.workload)) {
  if (task.paced && Date.parse(event.occurred_at) > paceEndMs) {
    // oxlint-disable-next-line no-await-in-loop
    await flush();
    paceEndMs = Math.max(paceEndMs + PACE_MS, Date.parse(event.occurred_at));
    const waitMs = paceEndMs - Date.now();
    // oxlint-disable-next-line no-await-in-loop
    if (waitMs > 0) await delay(waitMs);
  }
  const value = JSON.stringify(event);
  tally.add(event, value.length);
  waiting.push({ key: event.session_id, value, headers: cloudEventHeaders(event) });
  // oxlint-disable-next-line no-await-in-loop
  if (waiting.length >= SEND_RECORDS) await flush();
}
await flush();
await sending;
producer.stop();
process.stdout.write(`${JSON.stringify(tally.totals())}\n`);
process.disconnect();
