import { z } from 'zod';
import { counter } from '../events/counters.js';
import { wireTime } from '../events/values.js';
import { evidenceExample, evidenceKeysExample, lookupExample } from './examples.js';
import { moment } from './moment.js';
import { timeRange } from './measures.js';
import { session, timelineEvent } from './session.js';
import { port, text, timeZone, whole } from './values.js';

/** Days that are looked through where no time is given. */
export const LOOKUP_DAYS = 30;
const SKEW_SECONDS_DEFAULT = 120;
const SKEW_SECONDS_MAX = 86_400;

const ip = z.union([z.ipv4(), z.ipv6()], { error: 'must be an IP address' }).optional();

/** What a lookup may name. At least one of the addresses is needed. */
const LOOKUP_FIELDS = ['dest_ip', 'dest_host', 'dest_port', 'egress_ip', 'egress_port'] as const;
export type LookupField = (typeof LOOKUP_FIELDS)[number];
const ADDRESSES: readonly LookupField[] = ['dest_ip', 'dest_host', 'egress_ip'];

export const lookupQuery = z
  .strictObject({
    dest_ip: ip.describe('address that was reached'),
    dest_host: text.optional().describe('name or address that was asked for'),
    dest_port: port.optional().describe('port that was reached'),
    egress_ip: ip.describe(
      'address that the destination saw: of the proxy, or the public one that QUERY_EGRESS_NAT maps to it',
    ),
    egress_port: port.optional().describe('port that the destination saw'),
    time: moment
      .optional()
      .describe(`when it was seen; without it the last ${LOOKUP_DAYS} days are looked through`),
    time_zone: timeZone.default('UTC').describe('what a date without a time means'),
    skew: whole(0, SKEW_SECONDS_MAX)
      .default(SKEW_SECONDS_DEFAULT)
      .describe('seconds by which the clocks may differ, either way'),
    limit: whole(1, 1_000).default(100),
  })
  .superRefine((query, ctx) => {
    if (ADDRESSES.some((name) => query[name] !== undefined)) return;
    ctx.addIssue({
      code: 'custom',
      path: ['dest_ip'],
      message: `one of ${ADDRESSES.join(', ')} is needed`,
    });
  });
export type LookupQuery = z.infer<typeof lookupQuery>;

export const lookupCandidate = z
  .object({
    ...session.shape,
    matched: z
      .array(z.enum([...LOOKUP_FIELDS, 'time']))
      .describe('what of the question fits; time: it was open at that very time'),
    distance_ms: counter
      .nullable()
      .describe('from the time to when it was open; 0: open then; null without a time'),
  })
  .meta({ id: 'LookupCandidate' });
export type LookupCandidate = z.infer<typeof lookupCandidate>;

export const lookup = z
  .object({
    range: timeRange.describe('sessions that were open at any time in it were looked for'),
    items: z.array(lookupCandidate).describe('those closest to the time first'),
    truncated: z.boolean().describe('more sessions fit than are shown'),
    completeness: z.object({
      egress_recorded_since: wireTime
        .nullable()
        .describe('start of the first session with egress_ip and egress_port; null if none has'),
      egress_unrecorded: counter
        .nullable()
        .describe(
          'sessions that fit otherwise, were connected, and have no egress recorded: they may be meant; null if no egress was asked for',
        ),
      data_until: wireTime.nullable().describe('the newest event that had been stored'),
      covers_range: z
        .boolean()
        .describe('false: events of the end of the range may still come (lag)'),
      sessions_since: wireTime
        .nullable()
        .describe('sessions that began before are no longer kept; null if all are'),
      silent_proxies: z
        .array(z.string())
        .nullable()
        .describe(
          'proxies that served sessions in the day before and none in the hours of the range; null without a time, or for a key tied to a user',
        ),
      clocks: z
        .array(z.object({ proxy_id: z.string(), least_delay_ms: z.int() }))
        .describe(
          'least time from an event of these sessions to its storage; a negative one: the clock of the proxy was ahead of that of ClickHouse by at least so much',
        ),
    }),
    as_of: wireTime,
  })
  .meta({ id: 'Lookup', examples: [lookupExample] });
export type Lookup = z.infer<typeof lookup>;

export const evidenceQuery = lookupQuery.safeExtend({
  format: z.enum(['json', 'html']).default('json'),
});
export type EvidenceQuery = z.infer<typeof evidenceQuery>;

/** A file of evidence as JSON. */
export const evidence = z
  .object({
    status: z.string().describe('signed by which key, or not signed'),
    kid: z.string().nullable().describe('the key'),
    jws: z
      .string()
      .nullable()
      .describe('detached JWS (RFC 7515, appendix F) over `evidence` as canonical JSON (RFC 8785)'),
    evidence: z.object({
      kind: z.literal('sockscope.evidence'),
      format_version: counter,
      product_version: z.string(),
      made_at: wireTime,
      made_by: z.string().describe('who asked: key id or subject of the token'),
      question: z.record(z.string(), z.string()).describe('the parameters as they were sent'),
      answer: lookup,
      events: z
        .record(z.string(), z.object({ items: z.array(timelineEvent), truncated: z.boolean() }))
        .describe('by session_id'),
    }),
  })
  .meta({ id: 'Evidence', examples: [evidenceExample] });
export type Evidence = z.infer<typeof evidence>;

export const evidenceKeys = z
  .object({
    keys: z.array(
      z.object({
        kty: z.literal('OKP'),
        crv: z.literal('Ed25519'),
        x: z.string(),
        kid: z.string(),
        alg: z.literal('EdDSA'),
        use: z.literal('sig'),
        created_at: wireTime,
        retired_at: wireTime.nullable().describe('null: it signs today'),
      }),
    ),
  })
  .meta({ id: 'EvidenceKeys', examples: [evidenceKeysExample] });
export type EvidenceKeysAnswer = z.infer<typeof evidenceKeys>;
