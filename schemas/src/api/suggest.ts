import { z } from 'zod';
import { counter } from '../events/counters.js';
import { suggestionsExample } from './examples.js';
import { API_LIMITS, whole } from './values.js';

/** Fields whose values are suggested. */
export const SUGGEST_FIELDS = [
  'user',
  'dest_host',
  'dest_port',
  'source_ip',
  'proxy_id',
  'acl_rule_matched',
] as const;
export type SuggestField = (typeof SUGGEST_FIELDS)[number];

export const suggestParams = z.strictObject({ field: z.enum(SUGGEST_FIELDS) });

export const suggestQuery = z.strictObject({
  prefix: z
    .string()
    .max(API_LIMITS.text_chars)
    .default('')
    .describe('beginning of the value, in any case'),
  limit: whole(1, 50).default(10),
});

export const suggestions = z
  .object({
    items: z
      .array(z.object({ value: z.string(), sessions: counter.describe('within those days') }))
      .describe('most frequent first; empty if the field is masked'),
    days: counter.describe('number of days from which values are known'),
  })
  .meta({ id: 'Suggestions', examples: [suggestionsExample] });
export type Suggestions = z.infer<typeof suggestions>;
