/**
 * Child process that fills a topic with a part of the workload as proxies would: with the proxy's encoder,
 * records, compression and acknowledgement. Prints the totals of the events, as one line of JSON.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { EventParts } from '@sockscope/proxy/events/event-parts';
import { FrameWriter, scanChunks } from '@sockscope/proxy/events/frame';
import type { Frame } from '@sockscope/proxy/events/frame';
import { createEventRecordFormat } from '@sockscope/proxy/events/record';
import { createLogger } from '@sockscope/runtime';
import { createFormatProducer, kafkaConfig } from '@sockscope/runtime/kafka';
import type { RecordFormat } from '@sockscope/runtime/kafka';
import { createTally, workload } from './workload.js';
import type { FillTotals, WorkloadOptions } from './workload.js';

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
  /** The codec, if readers know no other one. Default: the proxy's. */
  readonly compression?: 'gzip';
}

/** Most events of a request, as in the proxy. */
const SEND_RECORDS = 5_000;
/**
 * A paced request holds the events that came due within this time. With that this process sends nearly as
 * many requests a second as ten proxies, which wait for 0.4 s under such a load.
 */
const PACE_MS = 50;

const [message] = (await once(process, 'message')) as [FillerTask];
const task = message;

/** An event in its proxy's log, and how this proxy writes records. */
interface Made {
  readonly frame: Frame;
  readonly by: RecordFormat<Frame>;
}

const producer = createFormatProducer<Made>(
  kafkaConfig.parse({
    brokers: task.brokers,
    topic: task.topic,
    compression: task.compression ?? 'auto',
  }),
  {
    keyHash: ({ frame, by }) => by.keyHash(frame),
    write({ frame, by }, writer) {
      by.write(frame, writer);
    },
  },
  { logger: createLogger('filler', { level: 'error' }), role: 'bench' },
);
const never = new AbortController().signal;
// A run without an end would hold every session.
const tally = createTally({ countsSessions: task.untilMs === undefined });
let valueBytes = 0;
const formats = new Map<string, RecordFormat<Frame>>();
const log = new FrameWriter();
let writers: RecordFormat<Frame>[] = [];
let sending: Promise<void> = Promise.resolve();

function formatOf(proxyId: string): RecordFormat<Frame> {
  const format = formats.get(proxyId) ?? createEventRecordFormat(proxyId);
  formats.set(proxyId, format);
  return format;
}

/** Writes an event into the log. @returns whether it has enough of them for a request. */
function make(event: EventParts): boolean {
  tally.add(event);
  log.add(event);
  writers.push(formatOf(event.origin.proxy_id));
  return writers.length >= SEND_RECORDS;
}

/** Takes the events out of the log. */
function take(): Made[] {
  const by = writers;
  writers = [];
  const { frames } = scanChunks(Buffer.from(log.take()));
  // Measuring each event would take as long as making it.
  valueBytes += Buffer.byteLength(frames[0]?.json ?? '') * frames.length;
  return by.map((format, i) => {
    const frame = frames[i];
    if (frame === undefined) throw new Error('an event is missing in the log');
    return { frame, by: format };
  });
}

async function send(records: readonly Made[]): Promise<void> {
  await sending;
  sending = producer.send(task.topic, records, never);
  // Lets the send begin while the next batch is made.
  await new Promise((resolve) => setImmediate(resolve));
}

/** Fills the topic as fast as possible. */
async function fill(): Promise<void> {
  for (const event of workload(task.workload)) if (make(event)) await send(take());
  await send(take());
}

/**
 * Each event when its time has come. All are made before the first one's time, because a slow machine
 * that makes them meanwhile runs late, and the figures would show that.
 */
async function fillInTime(): Promise<void> {
  const made: Made[] = [];
  for (const event of workload(task.workload)) if (make(event)) made.push(...take());
  made.push(...take());
  const lateMs = Date.now() - task.workload.startMs;
  if (lateMs > 0) throw new Error(`the events were ready ${lateMs} ms after their time`);
  let paceEndMs = task.workload.startMs + PACE_MS;
  let waiting: Made[] = [];
  for (const each of made) {
    const atMs = each.frame.occurredAtMs;
    if (atMs > paceEndMs || waiting.length >= SEND_RECORDS) {
      await send(waiting);
      waiting = [];
    }
    if (atMs > paceEndMs) paceEndMs = await paced(Math.max(paceEndMs + PACE_MS, atMs));
    waiting.push(each);
  }
  await send(waiting);
}

/** Fills the topic until a time. Late events are sent as fast as possible. */
async function fillUntil(untilMs: number): Promise<void> {
  let paceEndMs = 0;
  for (const event of workload(task.workload)) {
    if (event.moment.occurred_at > untilMs) break;
    if (event.moment.occurred_at > paceEndMs) {
      await send(take());
      paceEndMs = await paced(event.moment.occurred_at + PACE_MS);
    }
    if (make(event)) await send(take());
  }
  await send(take());
}

/** Waits until this time, which it returns. */
async function paced(untilMs: number): Promise<number> {
  const waitMs = untilMs - Date.now();
  if (waitMs > 0) await delay(waitMs);
  return untilMs;
}

async function run(): Promise<void> {
  if (task.untilMs !== undefined) return fillUntil(task.untilMs);
  return task.paced ? fillInTime() : fill();
}

/** A benchmark that is ended early leaves no process. */
const gone = (): never => process.exit(1);
process.once('disconnect', gone);
await run();
await sending;
producer.stop();
const totals: FillTotals = { ...tally.totals(), valueBytes };
process.stdout.write(`${JSON.stringify(totals)}\n`);
process.off('disconnect', gone);
process.disconnect();
