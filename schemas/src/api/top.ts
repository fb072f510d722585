import { z } from 'zod';
import { CLOSE_REASONS } from '../events/close-reason.js';
import { counter, counters } from '../events/counters.js';
import {
  topAclRulesExample,
  topCloseReasonsExample,
  topDestinationsExample,
  topPortsExample,
  topSourcesExample,
  topUsersExample,
} from './examples.js';
import { formatParam } from './export.js';
import { answerMeta } from './measures.js';
import { attributeFilterParams, checkFilterRanges } from './filters.js';
import { API_LIMITS, checkRange, rangeParams, whole } from './values.js';

export const TOP_MEASURES = [
  'bytes',
  'bytes_sent',
  'bytes_received',
  'sessions',
  'duration_ms',
  'rejected',
] as const;
export type TopMeasure = (typeof TOP_MEASURES)[number];

/** What is summed per key. */
const topSums = {
  sessions: counter.describe(
    'started in the range; of ACL rules and close reasons: ended in the range',
  ),
  bytes: counter.describe('both ways together'),
  ...counters.shape,
  duration_ms: counter.describe('of the sessions that ended in the range'),
  rejected: counter.describe('by the ACL, in the range'),
};
const sums = z.object(topSums);
export type TopSums = z.infer<typeof sums>;

const share = z.number().min(0).max(1).describe('of the total, by the measure asked for');

export const topUser = z.object({ user: z.string(), ...topSums, share }).meta({ id: 'TopUser' });
export const topDestination = z
  .object({ dest_host: z.string(), ...topSums, share })
  .meta({ id: 'TopDestination' });
const topSource = z.object({ source_ip: z.string(), ...topSums, share }).meta({ id: 'TopSource' });
const topPort = z.object({ dest_port: z.int(), ...topSums, share }).meta({ id: 'TopPort' });
const topAclRule = z
  .object({
    acl_rule_matched: z.string().nullable().describe('null where no rule matched'),
    ...topSums,
    share,
  })
  .meta({ id: 'TopAclRule' });
const topCloseReason = z
  .object({ close_reason: z.enum(CLOSE_REASONS), ...topSums, share })
  .meta({ id: 'TopCloseReason' });

export const topQuery = z
  .strictObject({
    ...rangeParams,
    by: z.enum(TOP_MEASURES).default('bytes'),
    limit: whole(1, API_LIMITS.top_max)
      .optional()
      .describe(`default: ${API_LIMITS.top_default}, and all in an export`),
    ...attributeFilterParams,
    ...formatParam,
  })
  .superRefine(checkRange)
  .superRefine(checkFilterRanges);
export type TopQuery = z.infer<typeof topQuery>;

/** The answer of a top list whose rows are `item`. */
function topListOf<T extends z.ZodType>(item: T) {
  return z.object({
    ...answerMeta,
    by: z.enum(TOP_MEASURES),
    items: z.array(item),
    other: sums.nullable().describe('everything that is not in items; null where that is nothing'),
    total: sums,
  });
}

export const topUsers = topListOf(topUser).meta({ id: 'TopUsers', examples: [topUsersExample] });
export const topDestinations = topListOf(topDestination).meta({
  id: 'TopDestinations',
  examples: [topDestinationsExample],
});
export const topSources = topListOf(topSource).meta({
  id: 'TopSources',
  examples: [topSourcesExample],
});
export const topPorts = topListOf(topPort).meta({ id: 'TopPorts', examples: [topPortsExample] });
export const topAclRules = topListOf(topAclRule).meta({
  id: 'TopAclRules',
  examples: [topAclRulesExample],
});
export const topCloseReasons = topListOf(topCloseReason).meta({
  id: 'TopCloseReasons',
  examples: [topCloseReasonsExample],
});
