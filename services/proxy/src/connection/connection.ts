/** Longer than 400 lines: the states of a client share the private fields of one object, so that a connection costs one. */
import type { Socket } from 'node:net';
import { ANONYMOUS_USER } from '@sockscope/schemas';
import type { AUTH_METHODS } from '@sockscope/schemas';
import { canonicalIp } from '@sockscope/schemas/net';
import type { DeadlineNode, DeadlineQueue } from '../collections/deadline-queue.js';
import type { IntrusiveSet, SetMember } from '../collections/intrusive-set.js';
import type { LimitName } from '../limits/admission.js';
import { UNCOUNTED_BYTES } from '../limits/early-bytes.js';
import type { EarlyBytes } from '../limits/early-bytes.js';
import { networksOf, sourceKey } from '../limits/source.js';
import type { HeaderSource } from '../listener/proxy-header.js';
import type { ClientIdentity, CommandName } from '../policy/policy.js';
import type { Relay } from '../relay/relay.js';
import type { Session } from '../sessions/session.js';
import type { FailureName } from '../socks5/protocol.js';
import { failureReply, successReply } from '../socks5/replies.js';
import type { Target } from '../socks5/target.js';
import { listenAsAccepted, stopReadingPlain, TapSocket } from '../tcp/socket.js';
import type { PlainSocket, SocketOwner, SocketReader } from '../tcp/socket.js';
import { AssociateCommand } from './associate.js';
import { BindCommand } from './bind.js';
import type { Command, CommandConnection, CommandContext } from './command.js';
import { ConnectCommand } from './connect.js';
import { Handshake } from './handshake.js';
import type { HandshakePlaces } from './handshake-places.js';
import type { Lingering } from './lingering.js';
import type { HandshakeContext, HandshakeOwner } from './handshake.js';
import type { ConnectionMetrics, HandshakeFailure } from './metrics.js';

/** Parts that all connections of a server share. */
export interface ConnectionContext {
  readonly handshake: HandshakeContext;
  readonly handshakePlaces: HandshakePlaces;
  readonly commands: CommandContext;
  readonly relay: Relay;
  readonly earlyBytes: EarlyBytes;
  /** Keepalive interval of a connection that is not relayed; 0 switches it off. */
  readonly keepaliveMs: number;
  /** When a client that has ended without a word is given up. */
  readonly abandonDeadlines: DeadlineQueue;
  readonly lingering: Lingering;
  /** Every connection that no relay has taken over, for shutdown. */
  readonly open: IntrusiveSet<Connection>;
}

const PHASE = {
  handshake: 0,
  /** Perhaps early payload comes: CONNECT dials its destination, BIND waits for its peer. */
  reaching: 1,
  /** Only the end comes: a UDP association lives as long as this connection. */
  associated: 2,
  /** Only the end comes: a refusal was sent. */
  lingering: 3,
  /** The socket has another owner, or is gone. */
  done: 4,
} as const;
type Phase = (typeof PHASE)[keyof typeof PHASE];

/** Bytes that are read before the destination is reached; the kernel keeps the rest. */
const MAX_EARLY_BYTES = 16 * 1024;

/**
 * A client from its acceptance to the relay: its handshake, then the socket of its command, without
 * a closure or promise per step. It is let go when the relay takes over, so that an idle session
 * does not pay for its handshake.
 */
export class Connection
  implements
    ClientIdentity,
    SetMember,
    SocketReader,
    SocketOwner,
    DeadlineNode,
    HandshakeOwner,
    CommandConnection
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
  networks: readonly string[] = [];

  readonly #context: ConnectionContext;
  readonly #socket: PlainSocket;
  #phase: Phase = PHASE.handshake;
  #handshake: Handshake | null = null;
  /** Early payload. */
  #early: Buffer | null = null;
  /** Whether it holds a place among the handshakes. */
  #isHandshaking = false;
  #isAttributed = false;
  #holdsDescriptor = false;
  #command: Command | null = null;

  constructor(context: ConnectionContext, socket: PlainSocket) {
    this.#context = context;
    this.#socket = socket;
  }

  /**
   * Begins the handshake, or drops the client if a limit is reached.
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
      this.failed('reset');
      return;
    }
    this.#setSource(ip, socket.remotePort ?? 0);
    const isBehindBalancer = hasProxyHeader(ip);
    // Behind a load balancer all connections come from one address: its clients count apart.
    const source = isBehindBalancer ? null : this.source;
    const limit = context.handshakePlaces.take(this, source);
    if (limit !== null) {
      this.#failByLimit(limit);
      return;
    }
    context.commands.descriptors.take();
    this.#holdsDescriptor = true;
    this.#isHandshaking = true;
    this.#isAttributed = !isBehindBalancer;
    this.#handshake = new Handshake(context.handshake, this, isBehindBalancer);
    context.open.add(this);
  }

  #setSource(ip: string, port: number): void {
    this.sourceIp = ip;
    this.sourcePort = port;
    this.source = sourceKey(ip);
    this.networks = networksOf(ip);
  }

  /** Gives its place up to a source that has fewer. */
  displace(): void {
    if (this.#isUndecided) this.#failByLimit('max_handshakes');
    else this.destroy();
  }

  onBytes(bytes: Buffer): boolean {
    switch (this.#phase) {
      case PHASE.handshake:
        this.#handshake?.take(bytes);
        return this.#readsOn;
      case PHASE.reaching:
        return this.#keepEarly(bytes);
      case PHASE.associated:
      case PHASE.lingering:
        return true;
      case PHASE.done:
        return false;
    }
  }

  /** Keeps payload until there is a destination for it. Whether more is read meanwhile. */
  #keepEarly(bytes: Buffer): boolean {
    const { earlyBytes } = this.#context;
    const before = this.#early?.length ?? 0;
    if (before + bytes.length > UNCOUNTED_BYTES && !earlyBytes.hasRoom(this.source)) {
      // It came in one piece with the request, so that it has been read.
      this.#metrics.limitRefusals.add('early_payload_bytes');
      this.#command?.fail('limit_exceeded', 'early_payload_bytes');
      return true;
    }
    this.#early = Buffer.concat(this.#early === null ? [bytes] : [this.#early, bytes]);
    earlyBytes.changed(this.source, before, this.#early.length);
    return this.#readsOn;
  }

  #giveEarlyBack(): void {
    this.#context.earlyBytes.changed(this.source, this.#early?.length ?? 0, 0);
    this.#early = null;
  }

  get #metrics(): ConnectionMetrics {
    return this.#context.commands.metrics;
  }

  get #readsOn(): boolean {
    if (this.#phase === PHASE.handshake) return this.#handshake?.reads === true;
    if (this.#phase === PHASE.reaching && this.#early !== null) {
      const { earlyBytes } = this.#context;
      return this.#early.length < MAX_EARLY_BYTES && earlyBytes.hasRoom(this.source);
    }
    return this.#phase !== PHASE.done;
  }

  readOn(): void {
    if (this.#readsOn) this.#socket.resume();
  }

  send(message: Buffer): void {
    this.#socket.write(message);
  }

  sourceNamed(source: HeaderSource | null): boolean {
    const limit = this.#context.handshakePlaces.attribute(this, () => {
      if (source !== null) this.#setSource(source.ip, source.port);
    });
    if (limit !== null) {
      this.#failByLimit(limit);
      return false;
    }
    this.#isAttributed = true;
    return true;
  }

  authenticated(user: string): void {
    this.user = user;
    this.authMethod = 'password';
  }

  rejected(failure: HandshakeFailure, message: Buffer): void {
    this.#metrics.handshakeFailures.add(failure);
    this.#linger(message);
  }

  refused(failure: 'command_not_supported' | 'address_type_not_supported'): void {
    this.#metrics.handshakeFailures.add(failure);
    this.refuse(failure);
  }

  requested(name: CommandName, target: Target, rest: Buffer | null): void {
    this.#handshake = null;
    const isAssociated = name === 'udp_associate';
    this.#phase = isAssociated ? PHASE.associated : PHASE.reaching;
    this.#metrics.requests.add(name);
    this.#endHandshake();
    this.#command = this.#createCommand(name, target);
    this.#command.begin();
    if (rest !== null && this.#phase === PHASE.reaching) this.#keepEarly(rest);
  }

  #createCommand(name: CommandName, target: Target): Command {
    const { commands } = this.#context;
    switch (name) {
      case 'connect':
        return new ConnectCommand(commands, this, target);
      case 'bind':
        return new BindCommand(commands, this, target);
      case 'udp_associate':
        return new AssociateCommand(commands, this, target);
    }
  }

  get client(): ClientIdentity {
    return this;
  }

  get localIp(): string {
    return canonicalIp(this.#socket.localAddress ?? '') ?? '0.0.0.0';
  }

  succeed(ip: string, port: number): void {
    // Nothing else shows that the client of an association has vanished.
    const { keepaliveMs } = this.#context;
    if (this.#phase === PHASE.associated && keepaliveMs > 0) {
      this.#socket.setKeepAlive(true, keepaliveMs);
    }
    this.#metrics.replies.add('succeeded');
    this.#socket.write(successReply(ip, port));
  }

  refuse(reply: FailureName): void {
    this.#metrics.replies.add(reply);
    this.#linger(failureReply(reply));
  }

  /** The session lives on without this object. */
  relay(session: Session, upstream: Socket): void {
    const { relay, commands } = this.#context;
    const client = this.#socket;
    const head = this.#early;
    const { user, source } = this;
    session.terminate = null;
    this.#command = null;
    this.#holdsDescriptor = false;
    this.#release();
    void relay.run({ session, client, upstream, head }).then(({ reason, errorCode }) => {
      commands.descriptors.give(2);
      commands.gate.close(session, { user, source }, reason, errorCode);
    });
  }

  /** Whether the handshake continues, so that its failure is still to be counted. */
  get #isUndecided(): boolean {
    return this.#isHandshaking && this.#phase !== PHASE.lingering;
  }

  #endHandshake(): void {
    if (!this.#isHandshaking) return;
    this.#isHandshaking = false;
    this.#context.handshakePlaces.give(this, this.#isAttributed ? this.source : null);
  }

  /** Ends a handshake for a limit that it reached. */
  #failByLimit(limit: LimitName): void {
    this.#metrics.limitRefusals.add(limit);
    this.failed('limit_exceeded');
  }

  /**
   * Sends the last message and waits for the client to close, which is when it has read it:
   * closing at once while bytes of the client are unread would send a reset that overtakes it.
   * A handshake keeps its place until then, because its socket is as open as before.
   */
  #linger(last: Buffer): void {
    if (this.#phase === PHASE.lingering || this.#phase === PHASE.done) return;
    this.#phase = PHASE.lingering;
    this.#handshake?.cancel();
    this.#handshake = null;
    this.#giveEarlyBack();
    this.#socket.end(last);
    this.#socket.resume();
    this.#context.lingering.add(this);
  }

  /** Ends a handshake without a message. */
  failed(failure: HandshakeFailure): void {
    this.#metrics.handshakeFailures.add(failure);
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
      case PHASE.handshake:
        this.failed('eof');
        break;
      case PHASE.reaching:
        // With payload on its way this is a half-close, which the relay passes on. Without any,
        // nearly always, a client that has given up: it gets a moment for an answer all the same.
        if (this.#early === null) this.#context.abandonDeadlines.add(this);
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
    if (this.#isUndecided) this.#metrics.handshakeFailures.add('reset');
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
        this.failed('timeout');
    }
  }

  /** Ends the connection in any state. */
  shutdown(): void {
    this.#command?.end('server_shutdown');
    if (this.#isUndecided) this.failed('shutdown');
    else this.destroy();
  }

  /** Releases the socket without closing it. */
  #release(): void {
    const socket = this.#socket;
    this.#endHandshake();
    this.#handshake?.cancel();
    this.#handshake = null;
    if (this.#phase === PHASE.lingering) this.#context.lingering.delete(this);
    this.#phase = PHASE.done;
    this.#giveEarlyBack();
    if (this.#holdsDescriptor) this.#context.commands.descriptors.give();
    this.#holdsDescriptor = false;
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
