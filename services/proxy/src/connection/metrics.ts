import type { Registry } from '@sockscope/runtime';
import { COMMANDS } from '@sockscope/schemas';
import type { Admission } from '../limits/admission.js';
import { LIMIT_NAMES } from '../limits/admission.js';
import type { EarlyBytes } from '../limits/early-bytes.js';
import { AtScrape } from '../metrics/at-scrape.js';
import { Tally } from '../metrics/tally.js';
import { REPLY_NAMES } from '../socks5/protocol.js';

/** How a handshake ends that does not become a session. */
export const HANDSHAKE_FAILURES = [
  'bad_version',
  'bad_proxy_header',
  'no_acceptable_method',
  'auth_failed',
  'auth_throttled',
  'command_not_supported',
  'address_type_not_supported',
  'eof',
  'reset',
  'timeout',
  'limit_exceeded',
  'sink_refused',
  'shutdown',
] as const;
export type HandshakeFailure = (typeof HANDSHAKE_FAILURES)[number];

export interface ConnectionMetrics {
  accepted: number;
  readonly handshakeFailures: Tally<HandshakeFailure>;
  readonly limitRefusals: Tally<(typeof LIMIT_NAMES)[number]>;
  readonly replies: Tally<(typeof REPLY_NAMES)[number]>;
  readonly requests: Tally<(typeof COMMANDS)[number]>;
  readonly aclDecisions: Tally<'allow' | 'block'>;
}

export function createConnectionMetrics(
  registry: Registry,
  admission: Admission,
  earlyBytes: EarlyBytes,
): ConnectionMetrics {
  const metrics: ConnectionMetrics = {
    accepted: 0,
    handshakeFailures: new Tally(HANDSHAKE_FAILURES),
    limitRefusals: new Tally(LIMIT_NAMES),
    replies: new Tally(REPLY_NAMES),
    requests: new Tally(COMMANDS),
    aclDecisions: new Tally(['allow', 'block']),
  };
  const show = new AtScrape(registry);
  show.counter(
    'sockscope_proxy_connections_accepted_total',
    'Client connections accepted.',
    () => metrics.accepted,
  );
  show.gauge(
    'sockscope_proxy_handshakes',
    'Connections without a complete request.',
    () => admission.handshakes,
  );
  show.gauge(
    'sockscope_proxy_early_payload_bytes',
    'Memory for payload whose destination is not reached yet, beyond 2 KiB a connection.',
    () => earlyBytes.used,
  );
  metrics.handshakeFailures.register(
    registry,
    'sockscope_proxy_handshake_failures_total',
    'Connections that did not become a session, by kind.',
    'kind',
  );
  metrics.limitRefusals.register(
    registry,
    'sockscope_proxy_limit_refusals_total',
    'Connections and sessions refused, by the limit that was reached.',
    'limit',
  );
  metrics.replies.register(
    registry,
    'sockscope_proxy_replies_total',
    'SOCKS5 replies sent, by their code.',
    'reply',
  );
  metrics.requests.register(
    registry,
    'sockscope_proxy_requests_total',
    'Requests understood, by command.',
    'command',
  );
  metrics.aclDecisions.register(
    registry,
    'sockscope_proxy_acl_decisions_total',
    'Decisions of the ACL for requests and for destinations of UDP, by outcome.',
    'decision',
  );
  return metrics;
}
