import { SockscopeError } from '@sockscope/runtime';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { Problem, ProblemCode } from '@sockscope/schemas/api';

const PROBLEMS: Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>> =
  {
    'invalid-parameters': { status: 400, title: 'The request has unknown or wrong parameters' },
    'invalid-cursor': { status: 400, title: 'The cursor does not belong to this request' },
    unauthenticated: { status: 401, title: 'A valid API key or token is needed' },
    forbidden: { status: 403, title: 'The key or token does not allow this' },
    'not-found': { status: 404, title: 'There is no such thing' },
    'method-not-allowed': { status: 405, title: 'The API can only be read' },
    'not-acceptable': { status: 406, title: 'The answer cannot be had in that format' },
    'too-many-requests': { status: 429, title: 'Too many requests' },
    'too-expensive': { status: 422, title: 'The question would read too much' },
    overloaded: { status: 503, title: 'Too many questions at once' },
    'store-unavailable': { status: 503, title: 'The database cannot be reached' },
    'identity-unavailable': { status: 503, title: 'Tokens cannot be verified' },
    'deadline-exceeded': { status: 503, title: 'The question took too long' },
    'shutting-down': { status: 503, title: 'The service is stopping' },
    'internal-error': { status: 500, title: 'The service made a mistake' },
  };

export type ParameterError = NonNullable<Problem['errors']>[number];

/** An answer that is a problem document. What it says is shown to the client. */
export class ProblemError extends SockscopeError {
  declare readonly code: ProblemCode;
  readonly status: number;
  readonly errors: readonly ParameterError[];
  readonly retryAfterSeconds: number | null;

  constructor(
    code: ProblemCode,
    detail: string,
    options: {
      errors?: readonly ParameterError[];
      retryAfterSeconds?: number;
      cause?: unknown;
    } = {},
  ) {
    const { status } = PROBLEMS[code];
    super(code, detail, { retryable: status === 503 || status === 429, cause: options.cause });
    this.status = status;
    this.errors = options.errors ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }
}

/** A 400 that names the wrong parameters. */
export function invalidParameters(errors: readonly ParameterError[]): ProblemError {
  const detail = errors.map((e) => `${e.parameter}: ${e.message}`).join('; ');
  return new ProblemError('invalid-parameters', detail, { errors });
}

export function problemDocument(error: ProblemError, requestId: string): Problem {
  return {
    type: `urn:sockscope:problem:${error.code}`,
    title: PROBLEMS[error.code].title,
    status: error.status,
    code: error.code,
    detail: error.message,
    request_id: requestId,
    ...(error.errors.length === 0 ? {} : { errors: [...error.errors] }),
  };
}

/** ClickHouse's own limits, as the read-only user and our settings impose them. */
const TOO_MUCH: ReadonlySet<number> = new Set([
  158, // TOO_MANY_ROWS
  307, // TOO_MANY_BYTES
  241, // MEMORY_LIMIT_EXCEEDED
  396, // TOO_MANY_ROWS_OR_BYTES
]);
const TOO_SLOW: ReadonlySet<number> = new Set([
  159, // TIMEOUT_EXCEEDED
  160, // TOO_SLOW
]);
const BUSY: ReadonlySet<number> = new Set([
  202, // TOO_MANY_SIMULTANEOUS_QUERIES
  201, // QUOTA_EXCEEDED
]);
const RETRY_AFTER_SECONDS = 2;

/**
 * The problem that an error of the store is for the client. Nothing of the statement or of the
 * server's message is shown: it goes into the log.
 */
export function problemOfStore(error: ClickHouseError): ProblemError {
  const narrow = 'narrow the range or the filters';
  const retry = { retryAfterSeconds: RETRY_AFTER_SECONDS, cause: error };
  switch (error.code) {
    case 'clickhouse_timeout':
      return new ProblemError('deadline-exceeded', `no answer in time; ${narrow}`, retry);
    case 'clickhouse_network':
      return new ProblemError('store-unavailable', 'try again shortly', retry);
    case 'clickhouse_server': {
      const code = error.serverCode ?? 0;
      if (TOO_MUCH.has(code)) return new ProblemError('too-expensive', narrow, { cause: error });
      if (TOO_SLOW.has(code)) {
        return new ProblemError('deadline-exceeded', `no answer in time; ${narrow}`, retry);
      }
      if (BUSY.has(code)) return new ProblemError('overloaded', 'try again shortly', retry);
      return error.retryable
        ? new ProblemError('store-unavailable', 'try again shortly', retry)
        : new ProblemError('internal-error', 'see the log of the service', { cause: error });
    }
    case 'clickhouse_aborted':
    case 'clickhouse_row':
      return new ProblemError('internal-error', 'see the log of the service', { cause: error });
  }
}
