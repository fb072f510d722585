import { z } from 'zod';
import { counter } from '../events/counters.js';
import { wireTime } from '../events/values.js';
import { auditExample } from './examples.js';
import { checkRange, cursor, openRangeParams, pageSize, text } from './values.js';

export const auditQuery = z
  .strictObject({
    ...openRangeParams,
    action: text
      .optional()
      .describe('only this action, such as login, sessions or lookup/evidence'),
    principal: text.optional().describe('only of this principal, as `id` of GET /me'),
    limit: pageSize,
    cursor: cursor.optional(),
  })
  .superRefine(checkRange);
export type AuditQuery = z.infer<typeof auditQuery>;

const auditEntry = z.object({
  entry_id: z.string(),
  at: wireTime.describe('when it began'),
  ended_at: wireTime.nullable().describe('null while it runs, or if its process died'),
  principal: z.string().describe('key id or subject; `command` for a command line'),
  restricted_to: z
    .array(z.string())
    .nullable()
    .describe('the only users whose sessions the principal could see; null for all'),
  remote_ip: z.string().describe('address of the caller; empty for a command line'),
  action: z
    .string()
    .describe(
      'the action: the route of an export, lookup/evidence, login, logout, keys/create, keys/revoke, sign-ins/end, annotations/create, annotations/delete or forget',
    ),
  format: z.string().describe('csv, ndjson or parquet for an export, json or html for evidence'),
  details: z.record(z.string(), z.unknown()).describe('parameters of the action'),
  rows: counter
    .nullable()
    .describe('rows that were sent or removed; null for parquet, whose rows are not counted'),
  bytes: counter.describe('bytes that were sent'),
  outcome: z.enum(['started', 'finished', 'aborted', 'failed']),
});

/** Exports, sign-ins, changes of keys, and removals. */
export const auditPage = z
  .object({
    items: z.array(auditEntry).describe('the newest first'),
    next_cursor: z.string().nullable().describe('the next page, null after the last one'),
  })
  .meta({ id: 'AuditPage', examples: [auditExample] });
export type AuditPage = z.infer<typeof auditPage>;
