import type { Problem, ProblemCode } from '@sockscope/schemas/api';
import type { ProblemError } from '../problems/problem.js';

const PROBLEMS: Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>> =
  {
    'invalid-parameters': { status: 400, title: 'The request has unknown or wrong parameters' },
    'invalid-cursor': { status: 400, title: 'The cursor does not belong to this request' },
    unauthenticated: { status: 401, title: 'A valid API key or token is needed' },
    forbidden: { status: 403, title: 'The key or token does not allow this' },
    'not-found': { status: 404, title: 'Not found' },
    'method-not-allowed': { status: 405, title: 'The path does not take this method' },
    'not-acceptable': { status: 406, title: 'That format is not available' },
    'request-timeout': { status: 408, title: 'The request did not arrive in time' },
    'body-too-large': { status: 413, title: 'The body is too large' },
    'unsupported-media-type': { status: 415, title: 'The body is not JSON' },
    'headers-too-large': { status: 431, title: 'The address and headers are too long' },
    'too-many-requests': { status: 429, title: 'Too many requests' },
    'too-expensive': { status: 422, title: 'The question would read too much' },
    overloaded: { status: 503, title: 'Too many questions at once' },
    'store-unavailable': { status: 503, title: 'The database cannot be reached' },
    'identity-unavailable': { status: 503, title: 'Tokens cannot be verified' },
    'deadline-exceeded': { status: 503, title: 'The query took too long' },
    'shutting-down': { status: 503, title: 'The service is stopping' },
    'internal-error': { status: 500, title: 'Internal error of the service' },
  };

/** The HTTP status of a kind of problem. */
export function statusOf(code: ProblemCode): number {
  return PROBLEMS[code].status;
}

/** RFC 9457: the body of the answer. @param requestId names the request in the log. */
export function problemDocument(error: ProblemError, requestId: string): Problem {
  return {
    type: `urn:sockscope:problem:${error.code}`,
    title: PROBLEMS[error.code].title,
    status: PROBLEMS[error.code].status,
    code: error.code,
    detail: error.message,
    request_id: requestId,
    ...(error.errors.length === 0 ? {} : { errors: [...error.errors] }),
    ...(error.longestRangeMs === null ? {} : { longest_range_ms: error.longestRangeMs }),
  };
}
