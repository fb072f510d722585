import type { Socket } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import type { Binder } from '../bind/binder.js';
import type { DescriptorBudget } from '../limits/descriptors.js';
import type { Dialer } from '../dial/dialer.js';
import type { ClientIdentity, Policy } from '../policy/policy.js';
import type { SessionGate, SessionRefusal } from '../policy/session-gate.js';
import type { Session } from '../sessions/session.js';
import type { FailureName } from '../socks5/protocol.js';
import type { Associations } from '../udp/association.js';
import type { ConnectionMetrics } from './metrics.js';

/** Parts that the commands of all connections share. */
export interface CommandContext {
  readonly policy: Policy;
  readonly gate: SessionGate;
  readonly dialer: Dialer;
  readonly binder: Binder;
  readonly associations: Associations;
  readonly descriptors: DescriptorBudget;
  readonly metrics: ConnectionMetrics;
  /** Counts the changes of the ACL. */
  readonly aclGeneration: () => number;
}

/** The connection as its command sees it. */
export interface CommandConnection {
  readonly client: ClientIdentity;
  /** Canonical local address by which the client reached the proxy. */
  readonly localIp: string;
  /** Sends the reply that grants the request, with the address in it. */
  succeed(ip: string, port: number): void;
  /** Sends a reply that refuses the request. The connection ends once the client has read it. */
  refuse(reply: FailureName): void;
  /** Hands both sockets and their descriptors to the relay, which ends the session. */
  relay(session: Session, upstream: Socket): void;
  /** Ends the connection without a reply. */
  destroy(): void;
}

/**
 * A client's command, from its request until a relay takes over, the request is refused
 * or the client has gone.
 */
export interface Command {
  begin(): void;
  /** The client has gone. Nothing is sent any more. */
  abandon(): void;
  /** Ends everything without a reply. */
  end(reason: CloseReason): void;
  /** Ends the request with a reply. */
  fail(reason: CloseReason, errorCode: string | null): void;
}

/** Refuses a request for which the gate opened no session. */
export function refuse(
  { metrics }: Pick<CommandContext, 'metrics'>,
  connection: CommandConnection,
  refusal: SessionRefusal,
): void {
  if (refusal === 'sink_refused') metrics.handshakeFailures.add('sink_refused');
  connection.refuse(REPLIES[refusal]);
}

const REPLIES: Readonly<Record<SessionRefusal, FailureName>> = {
  sink_refused: 'general_failure',
  acl_rejected: 'not_allowed',
  command_refused: 'command_not_supported',
  limit_exceeded: 'not_allowed',
};

/** The reply to a client whose session is ended from elsewhere, such as by a change of the rules. */
export function replyOfTermination(reason: CloseReason): FailureName {
  return reason === 'acl_revoked' ? 'not_allowed' : 'general_failure';
}
