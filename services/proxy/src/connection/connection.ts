import type { Socket } from 'node:net';
import { ANONYMOUS_USER } from '@sockscope/schemas';
import type { AUTH_METHODS, CloseReason, COMMANDS } from '@sockscope/schemas';
import type { Acl, AclVerdict } from '../acl/acl.js';
import type { AuthOutcome, Authenticator } from '../auth/auth.js';
import type { Dial, Dialer, DialFailure, DialOwner } from '../dial/dialer.js';
import { sourceKey } from '../limits/admission.js';
import type { Admission } from '../limits/admission.js';
import type { DeadlineNode, DeadlineQueue } from '../limits/deadlines.js';
import type { Relay, RelayEnd } from '../relay/relay.js';
import type { Session, SessionTracker } from '../sessions/session.js';
import {
  BAD_ADDRESS_TYPE,
  credentialsEnd,
  credentialsOf,
  greetingEnd,
  INCOMPLETE,
  offersMethod,
  requestEnd,
} from '../socks5/frames.js';
import { COMMAND, METHOD } from '../socks5/protocol.js';
import type { ReplyName } from '../socks5/protocol.js';
import {
  failureReply,
  METHOD_NONE,
  METHOD_PASSWORD,
  METHOD_UNACCEPTABLE,
  PASSWORD_ACCEPTED,
  PASSWORD_REFUSED,
  replyOfErrno,
  successReply,
} from '../socks5/replies.js';
import { canonicalIp, targetOf } from '../socks5/target.js';
import type { Target } from '../socks5/target.js';
import type { ConnectionMetrics, HandshakeFailure } from './metrics.js';

/** Which methods the server takes: no authentication, username/password, or whichever the client offers. */
export const AUTH_POLICIES = ['none', 'password', 'optional'] as const;
export type AuthPolicy = (typeof AUTH_POLICIES)[number];

/** What all connections of a listener share. */
export interface ConnectionContext {
  readonly authPolicy: AuthPolicy;
  readonly acl: Acl;
  readonly authenticator: Authenticator;
  readonly admission: Admission;
  readonly tracker: SessionTracker;
  readonly dialer: Dialer;
  readonly relay: Relay;
  readonly metrics: ConnectionMetrics;
  readonly handshakeDeadlines: DeadlineQueue;
  readonly lingerDeadlines: DeadlineQueue;
  /** Every connection that is not a session's relay yet, for shutdown. */
  readonly open: Set<Connection>;
}

/** What is expected next from the client. */
const PHASE = {
  greeting: 0,
  credentials: 1,
  /** Nothing: the password is being checked. */
  verifying: 2,
  request: 3,
  /** Nothing: the destination is being reached. */
  dialing: 4,
  /** Only the end: a refusal was sent. */
  lingering: 5,
  /** The sockets belong to somebody else, or are gone. */
  done: 6,
} as const;
type Phase = (typeof PHASE)[keyof typeof PHASE];

export interface ClientSocket extends Socket {
  sockscopeConnection?: Connection;
}

/**
 * A client from its acceptance to the relay: one object and no closure or promise per step.
 * It is let go when the relay takes over, so that an idle session does not pay for its handshake.
 */
export class Connection implements DeadlineNode, DialOwner {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly #context: ConnectionContext;
  readonly #socket: ClientSocket;
  #phase: Phase = PHASE.greeting;
  /** Bytes that no message has used up. */
  #pending: Buffer | null = null;
  #sourceIp = '';
  #sourcePort = 0;
  #source = '';
  #isHandshaking = false;
  #user: string = ANONYMOUS_USER;
  #groups: readonly string[] = [];
  #authMethod: (typeof AUTH_METHODS)[number] = 'none';
  #target: Target | null = null;
  #session: Session | null = null;
  #dial: Dial | null = null;

  constructor(context: ConnectionContext, socket: ClientSocket) {
    this.#context = context;
    this.#socket = socket;
  }

  /** Begins the handshake, or drops the client where a limit is reached. */
  begin(): void {
    const socket = this.#socket;
    const context = this.#context;
    socket.sockscopeConnection = this;
    socket.on('error', onError);
    // The address is asked for once: later the peer may be gone.
    const ip = canonicalIp(socket.remoteAddress ?? '');
    if (ip === null) {
      this.#fail('reset');
      return;
    }
    this.#sourceIp = ip;
    this.#sourcePort = socket.remotePort ?? 0;
    this.#source = sourceKey(ip);
    const limit = context.admission.beginHandshake(this.#source);
    if (limit !== null) {
      context.metrics.limitRefusals.add(limit);
      this.#fail('limit_exceeded');
      return;
    }
    this.#isHandshaking = true;
    context.open.add(this);
    context.handshakeDeadlines.add(this);
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('close', onClose);
  }

  onData(chunk: Buffer): void {
    switch (this.#phase) {
      case PHASE.greeting:
      case PHASE.credentials:
      case PHASE.request:
        this.#parse(this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]));
        break;
      case PHASE.verifying:
      case PHASE.dialing:
        // The socket is paused; what was on its way still arrives.
        this.#pending = this.#pending === null ? chunk : Buffer.concat([this.#pending, chunk]);
        break;
      case PHASE.lingering:
      case PHASE.done:
        break;
    }
  }

  /** Takes as many messages out of `bytes` as are whole; the rest waits in `#pending`. */
  #parse(bytes: Buffer): void {
    let at = 0;
    for (;;) {
      const end = this.#messageEnd(bytes, at);
      if (end === INCOMPLETE) break;
      if (end < 0) {
        this.#refuseMessage(bytes, at, end);
        return;
      }
      // What is behind this message must be in place before the message is acted on.
      this.#pending = end === bytes.length ? null : bytes.subarray(end);
      const goesOn = this.#takeMessage(bytes, at);
      if (!goesOn) return;
      at = end;
    }
    this.#pending = at === bytes.length ? null : at === 0 ? bytes : bytes.subarray(at);
  }

  #messageEnd(bytes: Buffer, at: number): number {
    switch (this.#phase) {
      case PHASE.greeting:
        return greetingEnd(bytes, at);
      case PHASE.credentials:
        return credentialsEnd(bytes, at);
      default:
        return requestEnd(bytes, at);
    }
  }

  /** Acts on the whole message at `at`; false where nothing more is to be parsed now. */
  #takeMessage(bytes: Buffer, at: number): boolean {
    switch (this.#phase) {
      case PHASE.greeting:
        return this.#takeGreeting(bytes, at);
      case PHASE.credentials:
        this.#takeCredentials(bytes, at);
        return false;
      default:
        this.#takeRequest(bytes, at);
        return false;
    }
  }

  #refuseMessage(bytes: Buffer, at: number, end: number): void {
    if (end !== BAD_ADDRESS_TYPE) {
      // Not SOCKS5, or not any more: there is no message that such a client would understand.
      this.#fail('bad_version');
      return;
    }
    const isKnown = commandOf(bytes[at + 1]) !== null;
    this.#refuse(
      isKnown ? 'address_type_not_supported' : 'command_not_supported',
      isKnown ? 'address_type_not_supported' : 'command_not_supported',
    );
  }

  #takeGreeting(bytes: Buffer, at: number): boolean {
    const policy = this.#context.authPolicy;
    if (policy !== 'none' && offersMethod(bytes, at, METHOD.password)) {
      this.#phase = PHASE.credentials;
      this.#socket.write(METHOD_PASSWORD);
      return true;
    }
    if (policy !== 'password' && offersMethod(bytes, at, METHOD.none)) {
      this.#phase = PHASE.request;
      this.#socket.write(METHOD_NONE);
      return true;
    }
    this.#context.metrics.handshakeFailures.add('no_acceptable_method');
    this.#linger(METHOD_UNACCEPTABLE);
    return false;
  }

  #takeCredentials(bytes: Buffer, at: number): void {
    this.#phase = PHASE.verifying;
    this.#socket.pause();
    const { username, password } = credentialsOf(bytes, at);
    this.#context.authenticator.verify(username, password, this.#sourceIp).then(
      (outcome) => {
        this.#verified(outcome);
      },
      () => {
        this.#verified({ ok: false, kind: 'wrong', retryAfterMs: 0 });
      },
    );
  }

  #verified(outcome: AuthOutcome): void {
    if (this.#phase !== PHASE.verifying) return;
    if (!outcome.ok) {
      const kind = outcome.kind === 'throttled' ? 'auth_throttled' : 'auth_failed';
      this.#context.metrics.handshakeFailures.add(kind);
      this.#linger(PASSWORD_REFUSED);
      return;
    }
    this.#user = outcome.user;
    this.#groups = outcome.groups;
    this.#authMethod = 'password';
    this.#phase = PHASE.request;
    this.#socket.write(PASSWORD_ACCEPTED);
    if (this.#pending !== null) this.#parse(this.#pending);
    if (this.#phase === PHASE.request) this.#socket.resume();
  }

  #takeRequest(bytes: Buffer, at: number): void {
    const context = this.#context;
    const command = commandOf(bytes[at + 1]);
    if (command === null) {
      this.#refuse('command_not_supported', 'command_not_supported');
      return;
    }
    context.metrics.requests.add(command);
    const target = targetOf(bytes, at + 3);
    this.#target = target;
    this.#phase = PHASE.dialing;
    this.#socket.pause();
    this.#endHandshake();

    const verdict = this.#decide(target.ip, command);
    context.metrics.aclDecisions.add(verdict.decision);
    const limit =
      verdict.decision === 'allow'
        ? context.admission.beginSession(this.#user, this.#source)
        : null;
    const session = context.tracker.open({
      user: this.#user,
      source_ip: this.#sourceIp,
      source_port: this.#sourcePort,
      dest_host: target.host,
      dest_ip: target.ip,
      dest_port: target.port,
      protocol: command === 'udp_associate' ? 'udp' : 'tcp',
      command,
      auth_method: this.#authMethod,
      acl_decision: verdict.decision,
      acl_rule_matched: verdict.rule,
    });
    if (session === null) {
      if (verdict.decision === 'allow' && limit === null) {
        context.admission.endSession(this.#user, this.#source);
      }
      this.#refuse('sink_refused', 'general_failure');
      return;
    }
    this.#session = session;
    if (verdict.decision === 'block') {
      session.close('acl_rejected', null);
      this.#reply('not_allowed');
    } else if (limit !== null) {
      context.metrics.limitRefusals.add(limit);
      session.close('limit_exceeded', limit);
      this.#reply('not_allowed');
    } else {
      session.terminate = (reason, errorCode) => {
        this.#endSession(reason, errorCode);
        this.#reply(reason === 'acl_revoked' ? 'not_allowed' : 'general_failure');
      };
      this.#execute(command, target, session);
    }
  }

  #execute(command: (typeof COMMANDS)[number], target: Target, session: Session): void {
    switch (command) {
      case 'connect':
        this.#dial = this.#context.dialer.create(this);
        this.#dial.begin(target);
        break;
      case 'bind':
      case 'udp_associate':
        session.terminate = null;
        this.#endSession('command_refused', null);
        this.#reply('command_not_supported');
        break;
    }
  }

  #decide(ip: string | null, command: (typeof COMMANDS)[number]): AclVerdict {
    const target = this.#target;
    return this.#context.acl.decide({
      user: this.#user,
      groups: this.#groups,
      source_ip: this.#sourceIp,
      dest_host: target?.name ?? target?.ip ?? target?.host ?? '',
      dest_ip: ip,
      dest_port: target?.port ?? 0,
      protocol: command === 'udp_associate' ? 'udp' : 'tcp',
      command,
      nowMs: Date.now(),
    });
  }

  mayDial(ip: string): boolean {
    // An address that was asked for as such was decided with the request.
    if (this.#target?.ip === ip) return true;
    const verdict = this.#decide(ip, 'connect');
    if (verdict.decision === 'allow') return true;
    this.#session?.blocked(verdict.rule, ip);
    return false;
  }

  dialFailed(failure: DialFailure, errorCode: string | null): void {
    this.#dial = null;
    this.#endSession(failure, errorCode);
    switch (failure) {
      case 'acl_rejected':
        this.#reply('not_allowed');
        break;
      case 'dns_failed':
      case 'connect_timeout':
        this.#reply('host_unreachable');
        break;
      case 'connect_failed':
        this.#reply(replyOfErrno(errorCode ?? ''));
        break;
    }
  }

  dialed(upstream: Socket, ip: string, connectMs: number): void {
    const session = this.#session;
    const context = this.#context;
    this.#dial = null;
    if (session === null) {
      upstream.destroy();
      return;
    }
    session.connected(ip, connectMs);
    context.metrics.replies.add('succeeded');
    this.#socket.write(
      successReply(canonicalIp(upstream.localAddress ?? '') ?? '0.0.0.0', upstream.localPort ?? 0),
    );
    const client = this.#socket;
    const head = this.#pending;
    this.#release();
    const admission = context.admission;
    void context.relay
      .run({ session, client, upstream, head })
      .then(({ reason, errorCode }: RelayEnd) => {
        session.close(reason, errorCode);
        admission.endSession(session.header.user, sourceKey(session.header.source_ip));
      });
  }

  /** Closes the session and gives its place back. */
  #endSession(reason: CloseReason, errorCode: string | null): void {
    const session = this.#session;
    if (session === null || session.closed) return;
    this.#dial?.cancel();
    this.#dial = null;
    session.terminate = null;
    session.close(reason, errorCode);
    this.#context.admission.endSession(this.#user, this.#source);
  }

  #endHandshake(): void {
    if (!this.#isHandshaking) return;
    this.#isHandshaking = false;
    this.#context.handshakeDeadlines.remove(this);
    this.#context.admission.endHandshake(this.#source);
  }

  /** Ends a handshake with a reply. */
  #refuse(failure: HandshakeFailure, reply: Exclude<ReplyName, 'succeeded'>): void {
    this.#context.metrics.handshakeFailures.add(failure);
    this.#reply(reply);
  }

  #reply(reply: Exclude<ReplyName, 'succeeded'>): void {
    this.#context.metrics.replies.add(reply);
    this.#linger(failureReply(reply));
  }

  /**
   * Sends the last message and waits for the client to close, which is when it has read it:
   * closing at once while bytes of the client are unread would send a reset that overtakes it.
   */
  #linger(last: Buffer): void {
    this.#endHandshake();
    if (this.#phase === PHASE.done) return;
    this.#phase = PHASE.lingering;
    this.#pending = null;
    this.#context.lingerDeadlines.add(this);
    this.#socket.end(last);
    this.#socket.resume();
  }

  /** Ends a handshake without a word. */
  #fail(failure: HandshakeFailure): void {
    this.#context.metrics.handshakeFailures.add(failure);
    this.destroy();
  }

  onEnd(): void {
    switch (this.#phase) {
      case PHASE.greeting:
      case PHASE.credentials:
      case PHASE.verifying:
      case PHASE.request:
        this.#fail('eof');
        break;
      case PHASE.lingering:
        this.destroy();
        break;
      case PHASE.dialing:
      case PHASE.done:
        break;
    }
  }

  onClose(): void {
    if (this.#phase < PHASE.dialing) this.#context.metrics.handshakeFailures.add('reset');
    this.#endSession('client_aborted', null);
    this.destroy();
  }

  onDeadline(): void {
    if (this.#phase === PHASE.lingering) this.destroy();
    else this.#fail('timeout');
  }

  /** Ends what is not a session yet; a session is ended by its `terminate`. */
  shutdown(): void {
    if (this.#phase < PHASE.dialing) this.#fail('shutdown');
  }

  /** Lets go of the socket without closing it. */
  #release(): void {
    const socket = this.#socket;
    this.#endHandshake();
    this.#phase = PHASE.done;
    this.#pending = null;
    this.#context.lingerDeadlines.remove(this);
    this.#context.open.delete(this);
    delete socket.sockscopeConnection;
    socket.off('data', onData);
    socket.off('end', onEnd);
    socket.off('close', onClose);
  }

  destroy(): void {
    this.#release();
    this.#socket.destroy();
  }
}

function commandOf(code: number | undefined): (typeof COMMANDS)[number] | null {
  switch (code) {
    case COMMAND.connect:
      return 'connect';
    case COMMAND.bind:
      return 'bind';
    case COMMAND.udp_associate:
      return 'udp_associate';
    default:
      return null;
  }
}

// One function for all sockets: a closure per connection would cost time and memory.
function onData(this: ClientSocket, chunk: Buffer): void {
  this.sockscopeConnection?.onData(chunk);
}

function onEnd(this: ClientSocket): void {
  this.sockscopeConnection?.onEnd();
}

function onClose(this: ClientSocket): void {
  this.sockscopeConnection?.onClose();
}

function onError(): void {
  // `close` follows and does what is to be done; without a listener the error would end the process.
}
