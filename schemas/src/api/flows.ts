import { z } from 'zod';
import { counter } from '../events/counters.js';
import { flowsExample } from './examples.js';
import { answerMeta } from './measures.js';
import { attributeFilterParams, checkFilterRanges } from './filters.js';
import { API_LIMITS, checkRange, rangeParams, whole } from './values.js';

export const FLOW_MEASURES = ['bytes', 'sessions'] as const;

export const flowsQuery = z
  .strictObject({
    ...rangeParams,
    by: z.enum(FLOW_MEASURES).default('bytes'),
    limit: whole(1, API_LIMITS.flows_max).default(API_LIMITS.flows_default),
    ...attributeFilterParams,
  })
  .superRefine(checkRange)
  .superRefine(checkFilterRanges);
export type FlowsQuery = z.infer<typeof flowsQuery>;

const flowSums = {
  sessions: counter,
  bytes: counter,
  bytes_sent: counter,
  bytes_received: counter,
};

export const flows = z
  .object({
    ...answerMeta,
    by: z.enum(FLOW_MEASURES),
    items: z.array(
      z.object({ user: z.string(), dest_host: z.string(), dest_port: z.int(), ...flowSums }),
    ),
    other: z.object(flowSums).nullable().describe('all flows that are not in items'),
    total: z.object(flowSums),
  })
  .meta({ id: 'Flows', examples: [flowsExample] });
export type Flows = z.infer<typeof flows>;
