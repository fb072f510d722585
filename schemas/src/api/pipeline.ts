import { z } from 'zod';
import { SESSION_EVENT_TYPES } from '../events/choices.js';
import { counter } from '../events/counters.js';
import { wireTime } from '../events/values.js';
import { pipelineExample } from './examples.js';

/** Seconds over which rates and delays of the pipeline are measured. */
export const PIPELINE_WINDOW_SECONDS = 60;
/** Proxies are listed if they sent events within this many minutes. */
export const PIPELINE_PROXY_MINUTES = 60;
/** An open session sends an event every 30 s, so after this time without any something stands still. */
export const PIPELINE_SILENT_MS = 120_000;

/** Hours in which dead letters are counted. */
export const PIPELINE_DEAD_LETTER_HOURS = 24;

const perSecond = z.number().nonnegative().describe('per second');

/** The state of each hop from the proxies to the sums. */
export const pipeline = z
  .object({
    as_of: wireTime.describe('by the clock of ClickHouse'),
    window_seconds: counter.describe('the time over which rates and delays are averaged'),
    events: z.object({
      per_second: z.object(
        Object.fromEntries(SESSION_EVENT_TYPES.map((type) => [type, perSecond])) as {
          readonly [T in (typeof SESSION_EVENT_TYPES)[number]]: typeof perSecond;
        },
      ),
      delay_ms: z
        .object({ p50: z.number(), p99: z.number() })
        .nullable()
        .describe(
          'from an event to its storage; negative: the clock of a proxy is ahead; null without events',
        ),
      last_stored_at: wireTime.nullable().describe('the last insert of events'),
      silent_since: wireTime
        .nullable()
        .describe(
          'the last insert, if it is more than two minutes ago although sessions are open: their proxies, Kafka or ingest stand still',
        ),
    }),
    proxies: z
      .array(
        z.object({
          proxy_id: z.string(),
          last_event_at: wireTime.describe('by the clock of the proxy'),
          last_stored_at: wireTime,
          events_per_second: perSecond,
        }),
      )
      .describe(`sent events within ${PIPELINE_PROXY_MINUTES} minutes`),
    partitions: z.array(
      z.object({
        topic: z.string(),
        partition: counter,
        next_offset: counter.describe('offset of the next record that ingest reads'),
        caught_up: z.boolean().describe('true: ingest had read everything at `observed_at`'),
        watermark: wireTime.describe('time of the latest stored event'),
        lag_ms: counter.describe('time since the watermark; 0 if ingest had caught up'),
        observed_at: wireTime.describe('when ingest last reported this'),
        waits: z
          .object({ kind: z.string(), reason: z.string(), offset: counter, since: wireTime })
          .nullable()
          .describe('why the partition waits; null: it does not wait'),
      }),
    ),
    dead_letters: z
      .array(
        z.object({
          reason: z.string().describe('why the records are not events'),
          letters: counter.describe('a record that was delivered again counts again'),
          last_at: wireTime,
          sample: z
            .object({
              topic: z.string(),
              partition: counter,
              offset: counter,
              detail: z
                .string()
                .nullable()
                .describe('the problem; null for a key that is tied or sees masked names'),
            })
            .describe('the newest of them; `ingest dlq show` prints it'),
        }),
      )
      .describe(`invalid records of the last ${PIPELINE_DEAD_LETTER_HOURS} hours`),
    sums: z.object({
      changed: counter.describe('hours, days and weeks that changed after their sums were made'),
      oldest_changed: wireTime.nullable().describe('start of the earliest one'),
    }),
  })
  .meta({ id: 'Pipeline', examples: [pipelineExample] });
export type Pipeline = z.infer<typeof pipeline>;
