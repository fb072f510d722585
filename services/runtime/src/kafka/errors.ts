import { messageOf, SockscopeError } from '../errors.js';

/**
 * - `kafka_unreachable`: no broker could be reached, or the connection broke. Whether a request was carried out is unknown.
 * - `kafka_timeout`: no answer in time. The same uncertainty.
 * - `kafka_aborted`: the caller's signal ended it. The same uncertainty.
 * - `kafka_auth`: TLS, SASL or an ACL of Kafka refused us.
 * - `kafka_unsupported`: a broker lacks a needed request; nothing was sent.
 * - `kafka_rejected`: a broker answered with another error; `type` names it.
 */
export type KafkaErrorCode =
  | 'kafka_unreachable'
  | 'kafka_timeout'
  | 'kafka_aborted'
  | 'kafka_auth'
  | 'kafka_unsupported'
  | 'kafka_rejected';

/** The error of this module. `retryable`: the same call may succeed later without a change on our side. */
export class KafkaError extends SockscopeError {
  declare readonly code: KafkaErrorCode;
  /**
   * The protocol's name of a broker's error, such as `NOT_LEADER_FOR_PARTITION`; null if there was
   * none.
   */
  readonly type: string | null;

  constructor(
    code: KafkaErrorCode,
    message: string,
    options: { retryable: boolean; type?: string | null; cause?: unknown },
  ) {
    super(code, message, options);
    this.type = options.type ?? null;
  }
}

/** The error below kafkajs's wrappers, which hide the name and the type. */
function rootOf(error: unknown): unknown {
  let root = error;
  for (let depth = 0; depth < 10; depth += 1) {
    if (!(root instanceof Error)) return root;
    // createTopics answers with one error per topic.
    const inner: unknown =
      'errors' in root && Array.isArray(root.errors) ? root.errors[0] : root.cause;
    if (!(inner instanceof Error)) return root;
    root = inner;
  }
  return root;
}

function textField(error: unknown, field: 'type' | 'code' | 'name'): string | null {
  if (typeof error !== 'object' || error === null) return null;
  const value = (error as Partial<Record<typeof field, unknown>>)[field];
  return typeof value === 'string' ? value : null;
}

const AUTH_TYPES = /AUTHORIZATION_FAILED|SASL|AUTHENTICATION/;
/** Node's names of errors of a certificate, ours or a broker's. */
const TLS_CODES = /^ERR_(?:SSL|TLS|OSSL)_|CERT|SELF_SIGNED|UNABLE_TO_VERIFY/;

/** Converts an error of kafkajs into ours. */
export function kafkaErrorOf(error: unknown, what: string): KafkaError {
  if (error instanceof KafkaError) return error;
  const root = rootOf(error);
  if (root instanceof KafkaError) return root;
  const name = textField(root, 'name') ?? '';
  const type = textField(root, 'type');
  // An operator can look up the type; the text of a broker's error alone is vague.
  const message = `${what}: ${messageOf(root)}${type === null ? '' : ` (${type})`}`;
  if (name.includes('SASL') || (type !== null && AUTH_TYPES.test(type))) {
    // An operator may add the user or the ACL while we run.
    return new KafkaError('kafka_auth', message, { retryable: true, type, cause: error });
  }
  if (TLS_CODES.test(textField(root, 'code') ?? '')) {
    // Certificates are replaced while we run.
    return new KafkaError('kafka_auth', message, { retryable: true, type, cause: error });
  }
  if (name === 'KafkaJSRequestTimeoutError') {
    return new KafkaError('kafka_timeout', message, { retryable: true, type, cause: error });
  }
  if (name.startsWith('KafkaJSConnection') || name === 'KafkaJSBrokerNotFound') {
    return new KafkaError('kafka_unreachable', message, { retryable: true, type, cause: error });
  }
  const retriable =
    typeof root === 'object' && root !== null && 'retriable' in root && root.retriable === true;
  return new KafkaError('kafka_rejected', message, { retryable: retriable, type, cause: error });
}

/**
 * Whether a request to a broker that works will succeed soon: a broker refused it temporarily, or the cluster
 * names a controller that is not among its brokers yet, as it does for a while after its start.
 */
export function isStarting(cause: unknown): boolean {
  const { code, retryable } = kafkaErrorOf(cause, '');
  const isRefused = code === 'kafka_rejected' && retryable;
  return isRefused || textField(rootOf(cause), 'name') === 'KafkaJSBrokerNotFound';
}
