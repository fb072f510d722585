import { z } from 'zod';

/** Every kind of problem that the API answers with; `type` is `urn:sockscope:problem:<code>`. */
export const PROBLEM_CODES = [
  'invalid-parameters',
  'invalid-cursor',
  'unauthenticated',
  'forbidden',
  'not-found',
  'method-not-allowed',
  'not-acceptable',
  'request-timeout',
  'body-too-large',
  'unsupported-media-type',
  'headers-too-large',
  'too-many-requests',
  'too-expensive',
  'overloaded',
  'store-unavailable',
  'identity-unavailable',
  'deadline-exceeded',
  'shutting-down',
  'internal-error',
] as const;

export type ProblemCode = (typeof PROBLEM_CODES)[number];

/** RFC 9457 problem document, `application/problem+json`. */
export const problem = z
  .object({
    type: z.string().describe('urn:sockscope:problem:<code>'),
    title: z.string(),
    status: z.int().min(400).max(599),
    code: z.enum(PROBLEM_CODES),
    detail: z.string(),
    request_id: z.string().describe("identifies the request in the service's log"),
    errors: z
      .array(z.object({ parameter: z.string(), message: z.string() }))
      .optional()
      .describe('one entry per unknown or wrong parameter'),
    longest_range_ms: z
      .int()
      .nonnegative()
      .optional()
      .describe(
        'with too-expensive and deadline-exceeded: about the longest range that these filters may have; 0: none is short enough',
      ),
  })
  .meta({
    id: 'Problem',
    examples: [
      {
        type: 'urn:sockscope:problem:invalid-parameters',
        title: 'The request has unknown or wrong parameters',
        status: 400,
        code: 'invalid-parameters',
        detail: 'limit: must be a whole number from 1 to 1000',
        request_id: 'req-1',
        errors: [{ parameter: 'limit', message: 'must be a whole number from 1 to 1000' }],
      },
    ],
  });

export type Problem = z.infer<typeof problem>;
