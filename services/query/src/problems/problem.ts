import { SockscopeError } from '@sockscope/runtime';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { Problem, ProblemCode } from '@sockscope/schemas/api';

export type ParameterError = NonNullable<Problem['errors']>[number];

/** Problems that may be gone when the same is asked again. */
const RETRYABLE: ReadonlySet<ProblemCode> = new Set<ProblemCode>([
  'request-timeout',
  'too-many-requests',
  'overloaded',
  'store-unavailable',
  'identity-unavailable',
  'deadline-exceeded',
  'shutting-down',
]);

/** Why a request is not answered. Its text is shown to the client. */
export class ProblemError extends SockscopeError {
  declare readonly code: ProblemCode;
  readonly errors: readonly ParameterError[];
  readonly retryAfterSeconds: number | null;
  /** About the longest range that would be answered, in milliseconds, with too-expensive; null if unknown. */
  readonly longestRangeMs: number | null;

  constructor(
    code: ProblemCode,
    detail: string,
    options: {
      errors?: readonly ParameterError[];
      retryAfterSeconds?: number;
      longestRangeMs?: number | null;
      cause?: unknown;
    } = {},
  ) {
    super(code, detail, { retryable: RETRYABLE.has(code), cause: options.cause });
    this.errors = options.errors ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
    this.longestRangeMs = options.longestRangeMs ?? null;
  }
}

/** The answer to a path that is not served, or not to this caller: the two look the same. */
export function noSuchRoute(): ProblemError {
  return new ProblemError('not-found', 'no such route; /docs shows all of them');
}

/** A problem that names the wrong parameters. */
export function invalidParameters(errors: readonly ParameterError[]): ProblemError {
  const detail = errors.map((e) => `${e.parameter}: ${e.message}`).join('; ');
  return new ProblemError('invalid-parameters', detail, { errors });
}

/** ClickHouse's own limits, as the read-only user and our settings impose them. */
const TOO_MUCH: ReadonlySet<number> = new Set([
  158, // TOO_MANY_ROWS
  307, // TOO_MANY_BYTES
  396, // TOO_MANY_ROWS_OR_BYTES
]);
const TOO_SLOW: ReadonlySet<number> = new Set([
  159, // TIMEOUT_EXCEEDED
  160, // TOO_SLOW
]);
const BUSY: ReadonlySet<number> = new Set([
  241, // MEMORY_LIMIT_EXCEEDED: of the server; that of one query is a ProblemError before
  202, // TOO_MANY_SIMULTANEOUS_QUERIES
  201, // QUOTA_EXCEEDED
]);
/**
 * The database does not know our user or our tables. An operator can repair that, a client cannot.
 */
const UNUSABLE: ReadonlySet<number> = new Set([
  60, // UNKNOWN_TABLE
  81, // UNKNOWN_DATABASE
  192, // UNKNOWN_USER
  193, // WRONG_PASSWORD
  194, // REQUIRED_PASSWORD
  497, // ACCESS_DENIED
  516, // AUTHENTICATION_FAILED
]);
export const RETRY_AFTER_SECONDS = 2;

/**
 * The problem that a client sees for an error of the store. The statement and the server's message
 * go into the log only.
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
      return error.retryable || UNUSABLE.has(code)
        ? new ProblemError('store-unavailable', 'try again shortly', retry)
        : new ProblemError('internal-error', 'see the log of the service', { cause: error });
    }
    case 'clickhouse_aborted':
    case 'clickhouse_row':
      return new ProblemError('internal-error', 'see the log of the service', { cause: error });
  }
}
