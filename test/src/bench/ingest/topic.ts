/** The topic of a benchmark and the processes that fill it. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { KafkaBroker } from '@sockscope/local';
import { createLogger } from '@sockscope/runtime';
import { createKafkaAdmin, kafkaConfig } from '@sockscope/runtime/kafka';
import { dlqTopicOf } from '@sockscope/schemas';
import type { FillerTask } from './filler.js';
import type { FillTotals } from './workload.js';

export const PARTITIONS = 12;
const FILLER = fileURLToPath(new URL('filler.js', import.meta.url));
const logger = createLogger('bench', { level: 'error' });

export async function createTopic(kafka: KafkaBroker, topic: string): Promise<void> {
  const admin = createKafkaAdmin(kafkaConfig.parse({ brokers: [kafka.address], topic }), {
    logger,
    role: 'bench',
  });
  for (const name of [topic, dlqTopicOf(topic)]) {
    await admin.ensureTopic({ name, partitions: PARTITIONS, replicationFactor: null });
  }
  await admin.stop();
}

/** Its output. @throws if the child fails. */
export function collect(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  return once(child, 'close').then(([code]) => {
    if (code !== 0) throw new Error(`a child ended with ${String(code)}: ${text}`);
    return text;
  });
}

export interface Filler {
  readonly pid: number;
  /** The totals of its events, when all are sent. */
  readonly totals: Promise<FillTotals>;
}

/** @param signal ends the filling; the promise rejects then. */
export function startFiller(task: FillerTask, signal?: AbortSignal): Filler {
  const child = fork(FILLER, {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    ...(signal === undefined ? {} : { signal }),
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('a filler did not start');
  child.on('error', () => undefined);
  child.send(task);
  return { pid, totals: collect(child).then((text) => JSON.parse(text) as FillTotals) };
}

/** Fills a topic to the end of the task. */
export function fillTopic(task: FillerTask): Promise<FillTotals> {
  return startFiller(task).totals;
}
