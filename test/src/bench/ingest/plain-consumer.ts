/**
 * Child process: kafkajs as it is, consuming a topic to its end, and in mode `parse` also parsing every
 * value as JSON. The second is the ceiling of every consumer with kafkajs.
 */
import { parseArgs } from 'node:util';
import kafkajs from 'kafkajs';

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '' },
    topic: { type: 'string', default: '' },
    events: { type: 'string', default: '0' },
    mode: { type: 'string', default: 'consume' },
  },
});

export interface PlainResult {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly peakMiB: number;
}

const wanted = Number(values.events);
const kafka = new kafkajs.Kafka({
  brokers: values.brokers.split(','),
  logLevel: kafkajs.logLevel.ERROR,
});
const consumer = kafka.consumer({
  groupId: `bench-${values.mode}-${process.pid}`,
  maxWaitTimeInMs: 200,
});
await consumer.connect();
await consumer.subscribe({ topics: [values.topic], fromBeginning: true });
let count = 0;
let seqs = 0;
let beganAt = 0;
let cpu = process.cpuUsage();
await new Promise<void>((resolve) => {
  void consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async (payload) => {
      const { batch } = payload;
      if (count === 0) {
        beganAt = performance.now();
        cpu = process.cpuUsage();
      }
      if (values.mode === 'parse') {
        for (const { value } of batch.messages) {
          seqs += (JSON.parse(String(value)) as { seq: number }).seq;
        }
      }
      count += batch.messages.length;
      payload.resolveOffset(batch.lastOffset());
      if (count >= wanted) resolve();
    },
  });
});
const used = process.cpuUsage(cpu);
const result: PlainResult = {
  seconds: (performance.now() - beganAt) / 1_000,
  cpuSeconds: (used.user + used.system) / 1e6,
  peakMiB: process.resourceUsage().maxRSS / 1024,
};
process.stdout.write(`${JSON.stringify({ ...result, seqs })}\n`);
process.exit(0);
