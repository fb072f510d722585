import { messageOf, SockscopeError } from '../errors.js';

/**
 * - `clickhouse_server`: the server answered with an exception; `serverCode` names it.
 * - `clickhouse_network`: no whole answer came; a statement may or may not have been carried out.
 * - `clickhouse_timeout`: the deadline passed; the same uncertainty.
 * - `clickhouse_aborted`: the caller's signal ended it; the same uncertainty.
 * - `clickhouse_row`: a row did not have the shape that the caller stated.
 */
export const CLICKHOUSE_ERROR_CODES = [
  'clickhouse_server',
  'clickhouse_network',
  'clickhouse_timeout',
  'clickhouse_aborted',
  'clickhouse_row',
] as const;
export type ClickHouseErrorCode = (typeof CLICKHOUSE_ERROR_CODES)[number];

/** The error of this module. `retryable`: the same bytes may succeed later without a change. */
export class ClickHouseError extends SockscopeError {
  declare readonly code: ClickHouseErrorCode;
  /** ClickHouse's number of the exception, such as 60 for UNKNOWN_TABLE; null if it sent none. */
  readonly serverCode: number | null;

  constructor(
    code: ClickHouseErrorCode,
    message: string,
    options: { retryable: boolean; serverCode?: number; cause?: unknown },
  ) {
    super(code, message, options);
    this.serverCode = options.serverCode ?? null;
  }
}

/**
 * Exceptions that time may heal, named as `errorCodeToName` names them. All others (unknown
 * table, wrong type, no access …) need a change first.
 */
const RETRYABLE_SERVER_CODES: ReadonlySet<number> = new Set([
  3, // UNEXPECTED_END_OF_FILE: the body was cut
  23, // CANNOT_READ_FROM_ISTREAM
  24, // CANNOT_WRITE_TO_OSTREAM
  74, // CANNOT_READ_FROM_FILE_DESCRIPTOR
  75, // CANNOT_WRITE_TO_FILE_DESCRIPTOR
  95, // CANNOT_READ_FROM_SOCKET
  96, // CANNOT_WRITE_TO_SOCKET
  159, // TIMEOUT_EXCEEDED
  160, // TOO_SLOW
  173, // CANNOT_ALLOCATE_MEMORY
  198, // DNS_ERROR
  201, // QUOTA_EXCEEDED
  202, // TOO_MANY_SIMULTANEOUS_QUERIES
  203, // NO_FREE_CONNECTION
  209, // SOCKET_TIMEOUT
  210, // NETWORK_ERROR
  225, // NO_ZOOKEEPER
  236, // ABORTED
  241, // MEMORY_LIMIT_EXCEEDED
  242, // TABLE_IS_READ_ONLY: a replica without its Keeper
  243, // NOT_ENOUGH_SPACE
  252, // TOO_MANY_PARTS
  254, // NO_ACTIVE_REPLICAS
  265, // NO_AVAILABLE_REPLICA
  279, // ALL_CONNECTION_TRIES_FAILED
  285, // TOO_FEW_LIVE_REPLICAS
  286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
  289, // REPLICA_IS_NOT_IN_QUORUM
  319, // UNKNOWN_STATUS_OF_INSERT
  364, // RECEIVED_ERROR_TOO_MANY_REQUESTS
  394, // QUERY_WAS_CANCELLED: also sent by a server that shuts down
  425, // SYSTEM_ERROR
  439, // CANNOT_SCHEDULE_TASK
  473, // DEADLOCK_AVOIDED
  499, // S3_ERROR
  999, // KEEPER_EXCEPTION
  1000, // POCO_EXCEPTION
  1001, // STD_EXCEPTION
  1002, // UNKNOWN_EXCEPTION
]);

/** The server lacks a setting that our answers rest on. */
export const UNKNOWN_SETTING = 115;
/** The user lacks a right. */
export const ACCESS_DENIED = 497;
/** The first version whose FINAL with indexes is exact by default (`use_skip_indexes_if_final_exact_mode`). */
const CLICKHOUSE_MIN_VERSION = '25.6';

/** Whether an exception of the server may go away by itself. */
export function isRetryableServerCode(code: number): boolean {
  return RETRYABLE_SERVER_CODES.has(code);
}

/** Converts an error of the client into ours. */
export function clickHouseErrorOf(
  cause: unknown,
  what: string,
  ended: 'timeout' | 'aborted' | null,
): ClickHouseError {
  if (cause instanceof ClickHouseError) return cause;
  if (ended === 'timeout') {
    return new ClickHouseError('clickhouse_timeout', `${what}: no answer in time`, {
      retryable: true,
      cause,
    });
  }
  if (ended === 'aborted') {
    return new ClickHouseError('clickhouse_aborted', `${what}: cancelled by the caller`, {
      retryable: false,
      cause,
    });
  }
  const serverCode = serverCodeOf(cause);
  if (serverCode === UNKNOWN_SETTING) {
    return new ClickHouseError(
      'clickhouse_server',
      `${what}: this ClickHouse is too old. ${CLICKHOUSE_MIN_VERSION} is the oldest that works: ${messageOf(cause)}`,
      { retryable: false, serverCode, cause },
    );
  }
  if (serverCode !== null) {
    const message = serverCode === ACCESS_DENIED ? withGrant(messageOf(cause)) : messageOf(cause);
    return new ClickHouseError('clickhouse_server', `${what}: ${message}`, {
      retryable: isRetryableServerCode(serverCode),
      serverCode,
      cause,
    });
  }
  return new ClickHouseError('clickhouse_network', `${what}: ${messageOf(cause)}`, {
    retryable: true,
    cause,
  });
}

const MISSING_RIGHT =
  /^(\S+): Not enough privileges.* the grant ([A-Z ]+?)(?:\(.*?\)| for at least one column)? on (\S+?)\.?\s*$/i;

/**
 * Adds the statement that grants the missing right, for the whole table: other queries
 * read other columns.
 */
function withGrant(message: string): string {
  const [, user = '', right = '', what = ''] = MISSING_RIGHT.exec(message) ?? [];
  if (what === '') return message;
  const sentence = message.trimEnd().replace(/\.$/, '');
  return `${sentence}. Grant it with: GRANT ${right} ON ${what} TO \`${user}\``;
}

/** The client's own error class holds the number as text; a socket's error holds a name such as ECONNRESET. */
function serverCodeOf(cause: unknown): number | null {
  if (!(cause instanceof Error) || !('code' in cause) || typeof cause.code !== 'string')
    return null;
  return /^\d{1,4}$/.test(cause.code) ? Number(cause.code) : null;
}
