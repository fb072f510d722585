/** Bounds of the contract. A value beyond them is refused at the border, by the proxy and by ingest. */
export const EVENT_LIMITS = {
  /** RFC 1929 allows 255 bytes for a user name; escaping may lengthen it. */
  user_chars: 512,
  /** RFC 1928 allows 255 bytes for a name; escaping may lengthen it. */
  dest_host_chars: 1024,
  proxy_id_chars: 128,
  acl_rule_chars: 256,
  error_code_chars: 64,
  /** A whole encoded event, in bytes: far above the largest valid one. */
  event_bytes: 16_384,
  /** Events before this time are refused: a clock that was never set. 2020-01-01. */
  earliest_ms: 1_577_836_800_000,
  /** Events after this time are refused. 2100-01-01. */
  latest_ms: 4_102_444_800_000,
} as const;

export const SCHEMA_VERSION = 1;
export const DEFAULT_TOPIC = 'sockscope.session-events.v1';
/** The dead-letter topic of `topic`. */
export function dlqTopicOf(topic: string): string {
  return `${topic}.dlq`;
}
/** The user of a session whose client did not authenticate; no account may have this name. */
export const ANONYMOUS_USER = 'anonymous';
