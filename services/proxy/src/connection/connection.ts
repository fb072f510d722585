import type { Socket } from 'node:net';
import { ANONYMOUS_USER } from '@sockscope/schemas';
import type { AUTH_METHODS } from '@sockscope/schemas';
import { canonicalIp } from '@sockscope/schemas/net';
import type { AuthOutcome, Authenticator } from '../auth/auth.js';
import type { DeadlineNode, DeadlineQueue } from '../collections/deadline-queue.js';
import type { IntrusiveSet, SetMember } from '../collections/intrusive-set.js';
import { sourceKey } from '../limits/admission.js';
import type { Admission, LimitName } from '../limits/admission.js';
import { proxyHeaderEnd, proxyHeaderSource } from '../listener/proxy-header.js';
import type { ClientIdentity, CommandName } from '../policy/policy.js';
import type { Relay } from '../relay/relay.js';
import type { Session } from '../sessions/session.js';
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
import type { FailureName } from '../socks5/protocol.js';
import {
  failureReply,
  METHOD_NONE,
  METHOD_PASSWORD,
  METHOD_UNACCEPTABLE,
  PASSWORD_ACCEPTED,
  PASSWORD_REFUSED,
  successReply,
} from '../socks5/replies.js';
import { targetOf } from '../socks5/target.js';
import type { Target } from '../socks5/target.js';
import { listenAsAccepted, stopReadingPlain, TapSocket } from '../tcp/socket.js';
import type { PlainSocket, SocketOwner, SocketReader } from '../tcp/socket.js';
import { AssociateCommand } from './associate.js';
import { BindCommand } from './bind.js';
import type { Command, CommandConnection, CommandContext } from './command.js';
import { ConnectCommand } from './connect.js';
import type { HandshakeFailure } from './metrics.js';

/** Which methods the server takes: no authentication, username/password, or whichever the client offers. */
export type AuthPolicy = 'none' | 'password' | 'optional';

/** What all connections of a server share. */
export interface ConnectionContext extends CommandContext {
  readonly authPolicy: AuthPolicy;
  readonly authenticator: Pick<Authenticator, 'verify'>;
  readonly admission: Admission;
  readonly relay: Relay;
  readonly handshakeDeadlines: DeadlineQueue;
  /** When a client that has ended without a word is given up. */
  readonly abandonDeadlines: DeadlineQueue;
  readonly lingerDeadlines: DeadlineQueue;
  /** Every connection that no relay has taken over, for shutdown. */
  readonly open: IntrusiveSet<Connection>;
}

/** What is expected next from the client. Up to `request` it is a handshake. */
const PHASE = {
  proxyHeader: 0,
  greeting: 1,
  credentials: 2,
  /** Nothing: the password is being checked. */
  verifying: 3,
  request: 4,
  /** Perhaps early payload: CONNECT dials its destination, BIND waits for its peer. */
  reaching: 5,
  /** Only the end: a UDP association lives as long as this connection. */
  associated: 6,
  /** Only the end: a refusal was sent. */
  lingering: 7,
  /** The socket belongs to somebody else, or is gone. */
  done: 8,
} as const;
type Phase = (typeof PHASE)[keyof typeof PHASE];

/** Bytes that a client may send before its destination is reached; more wait in the kernel. */
const MAX_EARLY_BYTES = 64 * 1024;

/** Whether reading goes on in a phase. */
const READS_IN: Readonly<Record<Phase, boolean>> = {
  [PHASE.proxyHeader]: true,
  [PHASE.greeting]: true,
  [PHASE.credentials]: true,
  [PHASE.verifying]: false,
  [PHASE.request]: true,
  [PHASE.reaching]: true,
  [PHASE.associated]: true,
  [PHASE.lingering]: true,
  [PHASE.done]: false,
};

/**
 * A client from its acceptance to the relay: the handshake, then the socket of its command; one
 * object and no closure or promise per step. It is let go when the relay takes over, so that an idle session does not pay for its handshake.
 */
export class Connection
  implements ClientIdentity, SetMember, SocketReader, SocketOwner, DeadlineNode, CommandConnection
{
  setIndex = 0;
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;

  user: string = ANONYMOUS_USER;
  authMethod: (typeof AUTH_METHODS)[number] = 'none';
  sourceIp = '';
  sourcePort = 0;
  source = '';

  readonly #context: ConnectionContext;
  readonly #socket: PlainSocket;
  #phase: Phase = PHASE.greeting;
  /** Bytes that no message has used up, then early payload. */
  #pending: Buffer | null = null;
  #isHandshaking = false;
  #isAttributed = false;
  #command: Command | null = null;

  constructor(context: ConnectionContext, socket: PlainSocket) {
    this.#context = context;
    this.#socket = socket;
  }

  /**
   * Begins the handshake, or drops the client where a limit is reached.
   *
   * @param hasProxyHeader whether the client's address comes in a PROXY protocol header.
   */
  begin(hasProxyHeader: (ip: string) => boolean): void {
    const socket = this.#socket;
    const context = this.#context;
    listenAsAccepted(socket, this);
    // The address is asked for once: later the peer may be gone.
    const ip = canonicalIp(socket.remoteAddress ?? '');
    if (ip === null) {
      this.#fail('reset');
      return;
    }
    this.#setSource(ip, socket.remotePort ?? 0);
    const isBehindBalancer = hasProxyHeader(ip);
    // Behind a load balancer all connections come from one address: its clients count apart.
    const limit = context.admission.beginHandshake(isBehindBalancer ? null : this.source);
    if (limit !== null) {
      this.#failByLimit(limit);
      return;
    }
    this.#isHandshaking = true;
    this.#isAttributed = !isBehindBalancer;
    if (isBehindBalancer) this.#phase = PHASE.proxyHeader;
    context.open.add(this);
    context.handshakeDeadlines.add(this);
  }

  #setSource(ip: string, port: number): void {
    this.sourceIp = ip;
    this.sourcePort = port;
    this.source = sourceKey(ip);
  }

  onBytes(bytes: Buffer): boolean {
    switch (this.#phase) {
      case PHASE.proxyHeader:
      case PHASE.greeting:
      case PHASE.credentials:
      case PHASE.request:
        this.#parse(this.#pending === null ? bytes : Buffer.concat([this.#pending, bytes]));
        return READS_IN[this.#phase];
      case PHASE.verifying:
      case PHASE.reaching:
        this.#pending = Buffer.concat(this.#pending === null ? [bytes] : [this.#pending, bytes]);
        return this.#pending.length < MAX_EARLY_BYTES;
      case PHASE.associated:
      case PHASE.lingering:
        return true;
      case PHASE.done:
        return false;
    }
  }

  /** Takes as many messages out of `bytes` as are whole; a copy of the rest waits in `#pending`. */
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
      this.#pending = copyFrom(bytes, end);
      const goesOn = this.#takeMessage(bytes, at);
      if (!goesOn) return;
      at = end;
    }
    this.#pending = copyFrom(bytes, at);
  }

  #messageEnd(bytes: Buffer, at: number): number {
    switch (this.#phase) {
      case PHASE.proxyHeader:
        return proxyHeaderEnd(bytes);
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
      case PHASE.proxyHeader:
        return this.#takeProxyHeader(bytes);
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
    if (this.#phase === PHASE.proxyHeader) this.#fail('bad_proxy_header');
    // Not SOCKS5, or not any more: there is no message that such a client would understand.
    else if (end !== BAD_ADDRESS_TYPE) this.#fail('bad_version');
    else if (commandOf(bytes[at + 1]) === null) this.#refuseRequest('command_not_supported');
    else this.#refuseRequest('address_type_not_supported');
  }

  #takeProxyHeader(bytes: Buffer): boolean {
    const source = proxyHeaderSource(bytes);
    if (source !== null) this.#setSource(source.ip, source.port);
    const limit = this.#context.admission.attributeHandshake(this.source);
    if (limit !== null) {
      this.#failByLimit(limit);
      return false;
    }
    this.#isAttributed = true;
    this.#phase = PHASE.greeting;
    return true;
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
    const { username, password } = credentialsOf(Buffer.from(bytes.subarray(at)), 0);
    this.#context.authenticator.verify(username, password, this.sourceIp).then(
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
    this.user = outcome.user;
    this.authMethod = 'password';
    this.#phase = PHASE.request;
    this.#socket.write(PASSWORD_ACCEPTED);
    if (this.#pending !== null) this.#parse(this.#pending);
    if (READS_IN[this.#phase]) this.#socket.resume();
  }

  #takeRequest(bytes: Buffer, at: number): void {
    const name = commandOf(bytes[at + 1]);
    if (name === null) {
      this.#refuseRequest('command_not_supported');
      return;
    }
    if (name === 'udp_associate') {
      this.#phase = PHASE.associated;
      this.#pending = null;
    } else {
      this.#phase = PHASE.reaching;
    }
    this.#context.metrics.requests.add(name);
    this.#endHandshake();
    this.#command = this.#createCommand(name, targetOf(bytes, at + 3));
    this.#command.begin();
  }

  #createCommand(name: CommandName, target: Target): Command {
    switch (name) {
      case 'connect':
        return new ConnectCommand(this.#context, this, target);
      case 'bind':
        return new BindCommand(this.#context, this, target);
      case 'udp_associate':
        return new AssociateCommand(this.#context, this, target);
    }
  }

  get client(): ClientIdentity {
    return this;
  }

  get localIp(): string {
    return canonicalIp(this.#socket.localAddress ?? '') ?? '0.0.0.0';
  }

  succeed(ip: string, port: number): void {
    this.#context.metrics.replies.add('succeeded');
    this.#socket.write(successReply(ip, port));
  }

  refuse(reply: FailureName): void {
    this.#context.metrics.replies.add(reply);
    this.#linger(failureReply(reply));
  }

  /** The session lives on without this object. */
  relay(session: Session, upstream: Socket): void {
    const { relay, gate } = this.#context;
    const client = this.#socket;
    const head = this.#pending;
    const { user, source } = this;
    session.terminate = null;
    this.#command = null;
    this.#release();
    void relay.run({ session, client, upstream, head }).then(({ reason, errorCode }) => {
      gate.close(session, { user, source }, reason, errorCode);
    });
  }

  /** Whether the handshake goes on, so that its failure is still to be counted. */
  get #isUndecided(): boolean {
    return this.#isHandshaking && this.#phase !== PHASE.lingering;
  }

  #endHandshake(): void {
    if (!this.#isHandshaking) return;
    this.#isHandshaking = false;
    this.#context.handshakeDeadlines.remove(this);
    this.#context.admission.endHandshake(this.#isAttributed ? this.source : null);
  }

  /** Ends a handshake for a limit that it reached. */
  #failByLimit(limit: LimitName): void {
    this.#context.metrics.limitRefusals.add(limit);
    this.#fail('limit_exceeded');
  }

  /** Ends a handshake with a reply. */
  #refuseRequest(reason: 'command_not_supported' | 'address_type_not_supported'): void {
    this.#context.metrics.handshakeFailures.add(reason);
    this.refuse(reason);
  }

  /**
   * Sends the last message and waits for the client to close, which is when it has read it:
   * closing at once while bytes of the client are unread would send a reset that overtakes it.
   * A handshake keeps its place until then, because its socket is as open as before.
   */
  #linger(last: Buffer): void {
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

  onConnect(): void {
    // It was connected when it was accepted.
  }

  onError(): void {
    // `close` follows.
  }

  onEnd(): void {
    switch (this.#phase) {
      case PHASE.proxyHeader:
      case PHASE.greeting:
      case PHASE.credentials:
      case PHASE.verifying:
      case PHASE.request:
        this.#fail('eof');
        break;
      case PHASE.reaching:
        // With payload on its way this is a half-close, which the relay passes on. Without any,
        // nearly always, a client that has given up: it gets a moment for an answer all the same.
        if (this.#pending === null) this.#context.abandonDeadlines.add(this);
        break;
      case PHASE.associated:
      case PHASE.lingering:
        this.#abandoned();
        break;
      case PHASE.done:
        break;
    }
  }

  onClose(): void {
    if (this.#isUndecided) this.#context.metrics.handshakeFailures.add('reset');
    this.#abandoned();
  }

  /** The client has gone. */
  #abandoned(): void {
    this.#command?.abandon();
    this.destroy();
  }

  onDeadline(): void {
    switch (this.#phase) {
      case PHASE.reaching:
        this.#abandoned();
        break;
      case PHASE.lingering:
        this.destroy();
        break;
      default:
        this.#fail('timeout');
    }
  }

  /** Ends a handshake; sessions and associations have a time to end by themselves. */
  endHandshake(): void {
    if (this.#isUndecided) this.#fail('shutdown');
  }

  /** Ends the connection, whatever it does. */
  shutdown(): void {
    this.#command?.end('server_shutdown');
    this.destroy();
  }

  /** Lets go of the socket without closing it. */
  #release(): void {
    const socket = this.#socket;
    this.#endHandshake();
    this.#phase = PHASE.done;
    this.#pending = null;
    this.deadlineQueue?.remove(this);
    this.#context.open.delete(this);
    socket.owner = null;
    if (socket instanceof TapSocket) socket.reader = null;
    else stopReadingPlain(socket);
  }

  destroy(): void {
    this.#release();
    this.#socket.destroy();
  }
}

/** What is behind `at`, in memory of its own; null where nothing is. */
function copyFrom(bytes: Buffer, at: number): Buffer | null {
  return at === bytes.length ? null : Buffer.from(bytes.subarray(at));
}

function commandOf(code: number | undefined): CommandName | null {
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
