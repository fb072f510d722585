import { z } from 'zod';
import { explainExample } from './examples.js';
import { checkFilters, filterParams } from './filters.js';
import { answerMeta, SUM_SORTS, sumSort, timeRange } from './measures.js';
import { moment } from './moment.js';
import { checkRange, rangeParams, whole } from './values.js';

/** The dimensions that can explain a change. */
export const EXPLAIN_FIELDS = [
  'user',
  'dest_host',
  'dest_port',
  'source_ip',
  'acl_rule_matched',
  'proxy_id',
] as const;
export type ExplainField = (typeof EXPLAIN_FIELDS)[number];

export const explainQuery = z
  .strictObject({
    ...rangeParams,
    previous_from: moment
      .optional()
      .describe('start of the period to compare with; default: the previous period'),
    previous_to: moment.optional().describe('end of that period, excluded'),
    measure: sumSort.describe('the figure whose change is explained'),
    limit: whole(1, 50).default(5).describe('values of each field'),
    ...filterParams,
  })
  .superRefine(checkRange)
  .superRefine(checkFilters)
  .superRefine((query, ctx) => {
    if ((query.previous_from === undefined) === (query.previous_to === undefined)) return;
    ctx.addIssue({
      code: 'custom',
      path: ['previous_from'],
      message: 'previous_from and previous_to need each other',
    });
  });
export type ExplainQuery = z.infer<typeof explainQuery>;

const change = {
  current: z.int(),
  previous: z.int(),
  change: z.int().describe('current less previous'),
};

export const explain = z
  .object({
    ...answerMeta,
    previous_range: timeRange,
    measure: z.enum(SUM_SORTS),
    ...change,
    is_defined: z
      .boolean()
      .describe('false: the change is less than 1 % of the previous value, so it is not explained'),
    fields: z
      .array(
        z.object({
          field: z.enum(EXPLAIN_FIELDS),
          counts_at_end: z
            .boolean()
            .describe(
              'true (rules): a session counts when it ends, so these changes have another total',
            ),
          items: z
            .array(
              z.object({
                value: z.union([z.string(), z.int()]).nullable(),
                ...change,
                share: z
                  .number()
                  .nullable()
                  .describe("signed share of the field's change; null if not defined"),
              }),
            )
            .describe('largest changes first, up or down'),
        }),
      )
      .describe('each field explains the whole change; do not add them up'),
  })
  .meta({ id: 'Explain', examples: [explainExample] });
export type Explain = z.infer<typeof explain>;
