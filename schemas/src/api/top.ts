import { z } from 'zod';
import { CLOSE_REASONS, FINAL_STATUSES } from '../events/close-reason.js';
import { PROTOCOLS } from '../events/choices.js';
import { topExamples } from './examples.js';
import { formatParam } from './export.js';
import { checkFilters, filterParams } from './filters.js';
import { answerMeta, keyFigures, sumSort, SUM_SORTS, timeRange } from './measures.js';
import { API_LIMITS, checkRange, cursor, flag, rangeParams, whole } from './values.js';

/**
 * The fields by which sessions can be ranked and traffic can be split, under their own
 * names. `path` is the last part of the list's address.
 */
export const TOP_LISTS = {
  user: { path: 'users', key: z.string() },
  dest_host: { path: 'destinations', key: z.string() },
  dest_ip: { path: 'destination-addresses', key: z.string().nullable() },
  egress_ip: { path: 'egress-addresses', key: z.string().nullable() },
  dest_port: { path: 'ports', key: z.int() },
  source_ip: { path: 'sources', key: z.string() },
  protocol: { path: 'protocols', key: z.enum(PROTOCOLS) },
  proxy_id: { path: 'proxies', key: z.string() },
  acl_rule_matched: { path: 'acl-rules', key: z.string().nullable() },
  close_reason: { path: 'close-reasons', key: z.enum(CLOSE_REASONS) },
  status: { path: 'statuses', key: z.enum(FINAL_STATUSES) },
} as const;

export type TopField = keyof typeof TOP_LISTS;
export const TOP_FIELDS = Object.keys(TOP_LISTS) as TopField[];

const share = z.number().min(0).max(1).describe('share of the total, by the figure of `sort`');

function itemOf<F extends TopField>(field: F, id: string) {
  const { key } = TOP_LISTS[field] as { readonly key: (typeof TOP_LISTS)[F]['key'] };
  return z
    .object({
      ...({ [field]: key } as { readonly [K in F]: (typeof TOP_LISTS)[F]['key'] }),
      ...keyFigures,
      share,
      previous: z
        .object(keyFigures)
        .optional()
        .describe('the same in `previous_range`, with previous=true'),
    })
    .meta({ id });
}

export const topUser = itemOf('user', 'TopUser');
export const topDestination = itemOf('dest_host', 'TopDestination');

export const topQuery = z
  .strictObject({
    ...rangeParams,
    sort: sumSort,
    limit: whole(1, API_LIMITS.top_max)
      .optional()
      .describe(`keys per page; default: ${API_LIMITS.top_default}, and all in an export`),
    cursor: cursor
      .optional()
      .describe('next_cursor of the previous page; the range of the first page stays'),
    previous: flag.describe('true: adds the figures of the previous period to each item'),
    ...filterParams,
    ...formatParam,
  })
  .superRefine(checkRange)
  .superRefine(checkFilters);
export type TopQuery = z.infer<typeof topQuery>;

function listOf<T extends z.ZodType>(item: T, id: string, field: TopField) {
  return z
    .object({
      ...answerMeta,
      sort: z.enum(SUM_SORTS),
      items: z.array(item).describe('every key with any activity, page by page'),
      other: z
        .object(keyFigures)
        .nullable()
        .describe(
          'sum of all keys that are not in items; null if there are none, and on later pages',
        ),
      total: z.object(keyFigures),
      previous_range: timeRange.optional().describe('with previous=true'),
      next_cursor: z.string().nullable().describe('cursor of the next page; null on the last one'),
    })
    .meta({ id, examples: [topExamples[field]] });
}

/** The answers of the lists, by field. */
export const topAnswers = {
  user: listOf(topUser, 'TopUsers', 'user'),
  dest_host: listOf(topDestination, 'TopDestinations', 'dest_host'),
  dest_ip: listOf(itemOf('dest_ip', 'TopDestinationAddress'), 'TopDestinationAddresses', 'dest_ip'),
  egress_ip: listOf(itemOf('egress_ip', 'TopEgressAddress'), 'TopEgressAddresses', 'egress_ip'),
  dest_port: listOf(itemOf('dest_port', 'TopPort'), 'TopPorts', 'dest_port'),
  source_ip: listOf(itemOf('source_ip', 'TopSource'), 'TopSources', 'source_ip'),
  protocol: listOf(itemOf('protocol', 'TopProtocol'), 'TopProtocols', 'protocol'),
  proxy_id: listOf(itemOf('proxy_id', 'TopProxy'), 'TopProxies', 'proxy_id'),
  acl_rule_matched: listOf(
    itemOf('acl_rule_matched', 'TopAclRule'),
    'TopAclRules',
    'acl_rule_matched',
  ),
  close_reason: listOf(itemOf('close_reason', 'TopCloseReason'), 'TopCloseReasons', 'close_reason'),
  status: listOf(itemOf('status', 'TopStatus'), 'TopStatuses', 'status'),
} as const;
