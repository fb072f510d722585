import { z } from 'zod';
import { flowsExample } from './examples.js';
import { answerMeta, figures, SUM_SORTS, sumSort } from './measures.js';
import { checkFilters, filterParams } from './filters.js';
import { API_LIMITS, checkRange, rangeParams, whole } from './values.js';

export const flowsQuery = z
  .strictObject({
    ...rangeParams,
    sort: sumSort,
    limit: whole(1, API_LIMITS.flows_max).default(API_LIMITS.flows_default),
    ...filterParams,
  })
  .superRefine(checkRange)
  .superRefine(checkFilters);
export type FlowsQuery = z.infer<typeof flowsQuery>;

export const flows = z
  .object({
    ...answerMeta,
    sort: z.enum(SUM_SORTS),
    items: z.array(
      z.object({ user: z.string(), dest_host: z.string(), dest_port: z.int(), ...figures }),
    ),
    other: z.object(figures).nullable().describe('all flows that are not in items'),
    total: z.object(figures),
  })
  .meta({ id: 'Flows', examples: [flowsExample] });
export type Flows = z.infer<typeof flows>;
