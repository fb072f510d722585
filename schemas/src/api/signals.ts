import { z } from 'zod';
import { wireTime } from '../events/values.js';
import { signalsExample } from './examples.js';
import { timeRange } from './measures.js';
import { checkRange, rangeParams, whole } from './values.js';

export const SIGNAL_KINDS = ['shared_account', 'scan', 'mail', 'beacon', 'first_seen'] as const;
export type SignalKind = (typeof SIGNAL_KINDS)[number];

/** The longest range of signals, in days. */
export const SIGNAL_DAYS_MAX = 7;

export const signalParams = z.strictObject({ kind: z.enum(SIGNAL_KINDS) });

export const signalsQuery = z
  .strictObject({
    ...rangeParams,
    limit: whole(1, 500).default(100),
  })
  .superRefine(checkRange);

/** Suspicious activity of one kind, with its thresholds. */
export const signals = z
  .object({
    kind: z.enum(SIGNAL_KINDS),
    range: timeRange,
    thresholds: z.record(z.string(), z.number()).describe('by the names of their settings'),
    known_since: wireTime
      .nullable()
      .describe('start of the earliest stored session; first_seen cannot look further back'),
    items: z.array(
      z.object({
        user: z.string(),
        source_ip: z.string().nullable().describe('sessions without authentication'),
        dest_host: z.string().nullable(),
        dest_port: z.int().nullable(),
        from: wireTime,
        to: wireTime.describe('excluded'),
        figures: z.record(z.string(), z.number()).describe('the figures behind the signal'),
        sessions_url: z.string().describe('the sessions with this finding'),
      }),
    ),
    truncated: z.boolean().describe('there are more findings than shown'),
  })
  .meta({ id: 'Signals', examples: [signalsExample] });
export type Signals = z.infer<typeof signals>;
