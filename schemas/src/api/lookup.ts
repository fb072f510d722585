import { z } from 'zod';
import { counter } from '../events/counters.js';
import { wireTime } from '../events/values.js';
import { evidenceExample, evidenceKeysExample, lookupExample } from './examples.js';
import { moment } from './moment.js';
import { timeRange } from './measures.js';
import { session, timelineEvent } from './session.js';
import { port, text, timeZone, whole } from './values.js';

/** Days that are looked through if no time is given. */
export const LOOKUP_DAYS = 30;
const SKEW_SECONDS_DEFAULT = 120;
const SKEW_SECONDS_MAX = 86_400;

const ip = z
  .union([z.ipv4(), z.ipv6()], { error: 'must be an IP address' })
  .optional()
  .meta({ examples: ['198.51.100.7'] });

/** Parameters of a lookup. At least one of the addresses is needed. */
const LOOKUP_FIELDS = ['dest_ip', 'dest_host', 'dest_port', 'egress_ip', 'egress_port'] as const;
export type LookupField = (typeof LOOKUP_FIELDS)[number];
const ADDRESSES: readonly LookupField[] = ['dest_ip', 'dest_host', 'egress_ip'];

export const lookupQuery = z
  .strictObject({
    dest_ip: ip.describe('address that was reached'),
    dest_host: text.optional().describe('name or address that the client requested'),
    dest_port: port.optional().describe('port that was reached'),
    egress_ip: ip.describe(
      "address that the destination saw: the proxy's, or the public one that QUERY_EGRESS_NAT maps to it",
    ),
    egress_port: port.optional().describe('port that the destination saw'),
    time: moment
      .optional()
      .describe(`when the traffic was seen; default: search the last ${LOOKUP_DAYS} days`),
    time_zone: timeZone.default('UTC').describe('time zone of a date without a time'),
    skew: whole(0, SKEW_SECONDS_MAX)
      .default(SKEW_SECONDS_DEFAULT)
      .describe('seconds by which the clocks may differ, in both directions'),
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
      .describe(
        'which parts of the question match; time: the session was open at exactly that time',
      ),
    distance_ms: counter
      .nullable()
      .describe(
        'distance between the time and the session; 0: it was open then; null without a time',
      ),
  })
  .meta({ id: 'LookupCandidate' });
export type LookupCandidate = z.infer<typeof lookupCandidate>;

export const lookup = z
  .object({
    range: timeRange.describe('the range that was searched: sessions open at any time in it'),
    items: z.array(lookupCandidate).describe('closest to the time first'),
    truncated: z.boolean().describe('more sessions match than are shown'),
    completeness: z.object({
      egress_recorded_since: wireTime
        .nullable()
        .describe(
          'start of the first session with egress_ip and egress_port; null if there is none',
        ),
      egress_unrecorded: counter
        .nullable()
        .describe(
          'connected sessions that match except for a missing egress, so they may be the ones; null if no egress was requested, or no time: a month of sessions would be read',
        ),
      data_until: wireTime.nullable().describe('time of the newest stored event'),
      covers_range: z
        .boolean()
        .describe(
          'false: events of the range may still arrive, because ingest lags or a partition waits',
        ),
      sessions_since: wireTime
        .nullable()
        .describe('sessions that began earlier have expired; null if none have'),
      silent_proxies: z
        .array(z.string())
        .nullable()
        .describe(
          'proxies with sessions on the day before and none in the hours of the range, so shorter silences are not seen; null without a time, or for a key of one user',
        ),
      clocks: z
        .array(z.object({ proxy_id: z.string(), least_delay_ms: z.int() }))
        .describe(
          "shortest time from an event of these sessions to its storage; if negative, the proxy's clock was ahead of ClickHouse's by at least this much",
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
    status: z.string().describe('the key that signed, or not signed'),
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
      made_by: z.string().describe('the requester: key id or subject of the token'),
      question: z.record(z.string(), z.string()).describe('the parameters as they were sent'),
      egress_ips: z
        .array(z.string())
        .nullable()
        .describe(
          'addresses that were searched for egress_ip: itself, and those that QUERY_EGRESS_NAT maps to it; null if none was requested',
        ),
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
        retired_at: wireTime.nullable().describe('null: the present key'),
      }),
    ),
  })
  .meta({ id: 'EvidenceKeys', examples: [evidenceKeysExample] });
export type EvidenceKeysAnswer = z.infer<typeof evidenceKeys>;
