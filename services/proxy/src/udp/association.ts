import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import { aclHostOf, decideFor, isKnown } from '../connection/client.js';
import type { ClientIdentity, Policy } from '../connection/client.js';
import type { NameResolver, ResolveWaiter } from '../dns/resolver.js';
import type { Admission } from '../limits/admission.js';
import { DeadlineQueue } from '../limits/deadlines.js';
import type { DeadlineNode } from '../limits/deadlines.js';
import { PortPicker } from '../limits/ports.js';
import { noteAsked } from '../sessions/asked.js';
import type { Session, SessionTracker } from '../sessions/session.js';
import { addressEnd } from '../socks5/frames.js';
import { udpHeader } from '../socks5/replies.js';
import { canonicalIp, targetOf } from '../socks5/target.js';
import type { Target } from '../socks5/target.js';
import type { UdpConfig } from './config.js';
import type { UdpMetrics } from './metrics.js';

/** Datagrams, and bytes of them, that wait while a name is resolved. */
const MAX_WAITING = 16;
const MAX_WAITING_BYTES = 64 * 1024;
/**
 * The kernel's answers to a datagram that has no way to its address, as to IPv6 on a machine without
 * it: no route, no such family, a link-local address (EINVAL), a route or a filter that says no.
 */
const UNREACHABLE_CODES: ReadonlySet<string> = new Set([
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'EINVAL',
  'EACCES',
  'EPERM',
]);
/** `RSV RSV FRAG` before the address (RFC 1928, section 7). */
const ADDRESS_AT = 3;

export interface AssociationOwner {
  /** The client can send datagrams to this address. */
  associated(ip: string, port: number): void;
  associationFailed(errorCode: string): void;
  /** There has been no destination for the idle timeout, or the client's user is gone. */
  associationOver(reason: 'idle_timeout' | 'acl_revoked'): void;
}

export interface Associations {
  readonly enabled: boolean;
  create(owner: AssociationOwner, client: ClientIdentity): Association;
}

export interface AssociationDeps {
  readonly policy: Policy;
  readonly admission: Admission;
  readonly tracker: SessionTracker;
  readonly resolver: NameResolver;
  readonly metrics: UdpMetrics;
  /** Counts a refusal by the name of its limit. */
  readonly limitReached: (limit: NonNullable<ReturnType<Admission['beginSession']>>) => void;
}

interface AssociationContext extends AssociationDeps {
  readonly config: UdpConfig;
  readonly ports: PortPicker;
  readonly flowTimeouts: DeadlineQueue;
  readonly idleTimeouts: DeadlineQueue;
}

export function createAssociations(config: UdpConfig, deps: AssociationDeps): Associations {
  const context: AssociationContext = {
    ...deps,
    config,
    ports: new PortPicker(config.ports),
    flowTimeouts: new DeadlineQueue(config.idle_timeout_ms),
    idleTimeouts: new DeadlineQueue(config.association_idle_timeout_ms),
  };
  return {
    enabled: config.enabled,
    create: (owner, client) => new Association(context, owner, client),
  };
}

/**
 * A UDP association: one socket that the client sends to, and one per address family towards
 * destinations. Each destination is a session. Answers are taken only from those whom the client
 * has sent to, so that every datagram belongs to a session that the ACL has allowed.
 */
export class Association implements DeadlineNode {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly context: AssociationContext;
  readonly client: ClientIdentity;
  /** Null once it is over. */
  #owner: AssociationOwner | null;
  #inner: Socket | null = null;
  #outer4: Socket | null = null;
  #outer6: Socket | null = null;
  /** The port that the client sends from: the one that it announced, or that of its first datagram. */
  #clientPort: number | null = null;
  #attempts = 0;
  /** By the bytes of the address in the client's datagrams, so that finding one decodes nothing. */
  readonly #flows = new Map<string, Flow>();
  /** By the address that answers come from. */
  readonly #byRemote = new Map<string, Flow>();

  constructor(context: AssociationContext, owner: AssociationOwner, client: ClientIdentity) {
    this.context = context;
    this.#owner = owner;
    this.client = client;
  }

  /**
   * @param announced where the client says that it will send from; all zeros where it does not know.
   * @param reachedAt local address by which the client reached the proxy.
   */
  begin(announced: Target, reachedAt: string): void {
    const { config, ports } = this.context;
    // Behind a NAT the announced address is not the one that we see: then the port is not either.
    if (announced.ip === this.client.sourceIp && announced.port !== 0) {
      this.#clientPort = announced.port;
    }
    this.#attempts = ports.attempts;
    this.context.metrics.associations += 1;
    this.context.idleTimeouts.add(this);
    this.#listen(config.listen_ip === '' ? reachedAt : config.listen_ip);
  }

  #listen(ip: string): void {
    this.#attempts -= 1;
    const socket = makeSocket(ip);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (socket !== this.#inner) return;
      socket.close();
      this.#inner = null;
      if (error.code === 'EADDRINUSE' && this.#attempts > 0) this.#listen(ip);
      else this.#owner?.associationFailed(error.code ?? 'EUNKNOWN');
    });
    this.#inner = socket;
    socket.once('listening', () => {
      if (socket !== this.#inner) return;
      const { address, port } = socket.address();
      const { advertised_ip: advertised } = this.context.config;
      this.#owner?.associated(
        advertised === '' ? (canonicalIp(address) ?? '0.0.0.0') : advertised,
        port,
      );
    });
    socket.on('message', (datagram: Buffer, from: RemoteInfo) => {
      this.#fromClient(datagram, from);
    });
    // Last, because both success and failure may be told at once.
    bindSocket(socket, ip, this.context.ports.next());
  }

  onDeadline(): void {
    this.#owner?.associationOver('idle_timeout');
  }

  /** Ends every session and closes the sockets. */
  end(reason: CloseReason): void {
    if (this.#owner === null) return;
    this.#owner = null;
    this.context.metrics.associations -= 1;
    this.context.idleTimeouts.remove(this);
    for (const flow of this.#flows.values()) flow.close(reason, null);
    this.#flows.clear();
    this.#byRemote.clear();
    for (const socket of [this.#inner, this.#outer4, this.#outer6]) socket?.close();
    this.#inner = null;
    this.#outer4 = null;
    this.#outer6 = null;
  }

  #fromClient(datagram: Buffer, from: RemoteInfo): void {
    const { dropped } = this.context.metrics;
    if (canonicalIp(from.address) !== this.client.sourceIp) {
      dropped.add('not_the_client');
      return;
    }
    this.#clientPort ??= from.port;
    if (from.port !== this.#clientPort) {
      dropped.add('not_the_client');
      return;
    }
    const end = addressEnd(datagram, ADDRESS_AT);
    if (end < 0) {
      dropped.add('malformed');
      return;
    }
    if (datagram[2] !== 0) {
      dropped.add('fragment');
      return;
    }
    const key = datagram.toString('latin1', ADDRESS_AT, end);
    const flow = this.#flows.get(key) ?? this.#openFlow(key, datagram);
    flow?.send(datagram.subarray(end));
  }

  #openFlow(key: string, datagram: Buffer): Flow | null {
    if (this.#flows.size >= this.context.config.max_destinations) {
      this.context.metrics.dropped.add('max_destinations');
      return null;
    }
    const flow = new Flow(this, key, targetOf(datagram, ADDRESS_AT));
    const isOpen = flow.open();
    const isOver = !isKnown(this.context.policy.users, this.client);
    if (!isOpen || isOver) {
      this.context.metrics.dropped.add('refused_destination');
      // What a removed user still asked for is recorded, and there will be no more of it.
      if (isOver) this.#owner?.associationOver('acl_revoked');
      return null;
    }
    this.#flows.set(key, flow);
    this.context.idleTimeouts.remove(this);
    flow.begin();
    return flow;
  }

  /** Takes a flow out, and out of the way of answers. */
  forget(flow: Flow): void {
    if (this.#flows.get(flow.key) === flow) this.#flows.delete(flow.key);
    this.unclaim(flow);
    if (this.#flows.size === 0 && this.#owner !== null) this.context.idleTimeouts.add(this);
  }

  /** Answers from `remote` belong to this flow: the one that sent there last. */
  claim(flow: Flow): void {
    this.#byRemote.set(flow.remote, flow);
  }

  /** Takes a flow out of the way of answers: it goes on to another address. */
  unclaim(flow: Flow): void {
    if (this.#byRemote.get(flow.remote) === flow) this.#byRemote.delete(flow.remote);
  }

  /** The socket towards destinations of an address's family, or the code of why there is none. */
  outerFor(ip: string): Socket | string {
    if (isIPv6(ip)) {
      const socket = this.#outer6 ?? this.#openOuter('::');
      if (typeof socket !== 'string') this.#outer6 = socket;
      return socket;
    }
    const socket = this.#outer4 ?? this.#openOuter('0.0.0.0');
    if (typeof socket !== 'string') this.#outer4 = socket;
    return socket;
  }

  #openOuter(ip: string): Socket | string {
    const socket = makeSocket(ip);
    let failure: string | null = null;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // From `bind`, which tells at once. What sending meets is told with each datagram.
      failure ??= error.code ?? 'EUNKNOWN';
    });
    socket.on('message', (datagram: Buffer, from: RemoteInfo) => {
      const flow = this.#byRemote.get(remoteKey(canonicalIp(from.address) ?? '', from.port));
      if (flow === undefined) this.context.metrics.dropped.add('unknown_source');
      else flow.receive(datagram);
    });
    bindSocket(socket, ip, 0);
    if (failure === null) return socket;
    socket.close();
    return failure;
  }

  /** Sends an answer to the client; `sent` is called once the kernel has it, or will not take it. */
  answer(parts: readonly Buffer[], sent: (error: Error | null, bytes: number) => void): void {
    const socket = this.#inner;
    if (socket === null || this.#clientPort === null) return;
    if (socket.getSendQueueSize() > this.context.config.backlog_bytes) {
      this.context.metrics.dropped.add('backlog');
      return;
    }
    socket.send(parts, this.#clientPort, this.client.sourceIp, sent);
  }
}

/** One destination of an association. */
class Flow implements DeadlineNode, ResolveWaiter {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly key: string;
  /** Address and port that answers come from; empty while it is not known. */
  remote = '';
  readonly #association: Association;
  readonly #target: Target;
  #ip: string | null = null;
  /** Addresses of the name that were not tried yet. */
  #addresses: readonly string[] = [];
  /** Null where nothing is passed on: the destination was refused, and that is remembered for a while. */
  #session: Session | null = null;
  #waiting: Buffer[] | null = null;
  #waitingBytes = 0;
  #header: Buffer = Buffer.alloc(0);
  readonly #sent: (error: Error | null, bytes: number) => void;
  readonly #answered: (error: Error | null, bytes: number) => void;
  readonly #beganMs = performance.now();

  constructor(association: Association, key: string, target: Target) {
    this.#association = association;
    this.key = key;
    this.#target = target;
    const { dropped } = association.context.metrics;
    this.#sent = (error, bytes) => {
      const session = this.#session;
      if (error !== null) dropped.add('send_failed');
      else if (session !== null) {
        session.bytesSent += bytes;
        session.packetsSent += 1;
      }
    };
    this.#answered = (error, bytes) => {
      const session = this.#session;
      if (error !== null) dropped.add('send_failed');
      else if (session !== null) {
        session.bytesReceived += bytes - this.#header.length;
        session.packetsReceived += 1;
      }
    };
  }

  /** Opens the session, refused or not. False where not even that is possible now. */
  open(): boolean {
    const { policy, admission, tracker, limitReached } = this.#association.context;
    const { client } = this.#association;
    const target = this.#target;
    const verdict = decideFor(policy, client, 'udp_associate', {
      host: aclHostOf(target),
      ip: target.ip,
      searched: null,
      port: target.port,
    });
    const isAllowed = verdict.decision === 'allow';
    const limit = isAllowed ? admission.beginSession(client.user, client.source) : null;
    const session = tracker.open({
      user: client.user,
      source_ip: client.sourceIp,
      source_port: client.sourcePort,
      dest_host: target.host,
      dest_ip: target.ip,
      dest_port: target.port,
      protocol: 'udp',
      command: 'udp_associate',
      auth_method: client.authMethod,
      acl_decision: verdict.decision,
      acl_rule_matched: verdict.rule,
    });
    if (session === null) {
      if (isAllowed && limit === null) admission.endSession(client.user, client.source);
      return false;
    }
    if (!isAllowed) session.close('acl_rejected', null);
    else if (limit !== null) {
      limitReached(limit);
      session.close('limit_exceeded', limit);
    } else {
      this.#session = session;
      noteAsked(session, { host: aclHostOf(target) });
      session.terminate = (reason, errorCode) => {
        this.close(reason, errorCode);
        this.#association.forget(this);
      };
    }
    return true;
  }

  /** Starts to find the destination's address. */
  begin(): void {
    this.#association.context.flowTimeouts.add(this);
    if (this.#session === null) return;
    const { ip, name } = this.#target;
    if (ip !== null) this.#reach(ip, this.#session.header.acl_rule_matched);
    else if (name === null) this.#refuse('dns_failed', 'EBADNAME');
    else {
      this.#waiting = [];
      this.#association.context.resolver.resolve(name, this);
    }
  }

  resolved(addresses: readonly string[], searched: string | null): void {
    if (this.#session === null) return;
    this.#addresses = addresses;
    noteAsked(this.#session, { searchedName: searched });
    this.#reachNext(null);
  }

  /**
   * Goes on with the next address that the rules allow. The session ends where there is none.
   *
   * @param failure why the address before was not reached; null where there was none.
   */
  #reachNext(failure: string | null): void {
    const { name, port } = this.#target;
    const { client, context } = this.#association;
    let blocked: { readonly ip: string; readonly rule: string | null } | null = null;
    for (;;) {
      const [ip, ...others] = this.#addresses;
      if (ip === undefined) break;
      this.#addresses = others;
      const verdict = decideFor(context.policy, client, 'udp_associate', {
        host: name ?? ip,
        ip,
        searched: this.#session?.asked?.searchedName ?? null,
        port,
      });
      if (verdict.decision === 'allow') {
        this.#reach(ip, verdict.rule);
        return;
      }
      blocked = { ip, rule: verdict.rule };
    }
    if (failure !== null) {
      this.#session?.unreached(Math.round(performance.now() - this.#beganMs));
      this.#refuse('connect_failed', failure);
      return;
    }
    if (blocked !== null) this.#session?.blocked(blocked.rule, blocked.ip);
    this.#refuse('acl_rejected', null);
  }

  resolveFailed(code: string): void {
    this.#session?.unreached(Math.round(performance.now() - this.#beganMs));
    this.#refuse('dns_failed', code);
  }

  #reach(ip: string, rule: string | null): void {
    this.#ip = ip;
    this.remote = remoteKey(ip, this.#target.port);
    this.#header = udpHeader(ip, this.#target.port);
    this.#session?.connected(ip, Math.round(performance.now() - this.#beganMs), rule);
    const waiting = this.#waiting ?? [];
    this.#waiting = null;
    for (const payload of waiting) this.send(payload);
  }

  /** Ends the session and goes on dropping, so that a client that repeats itself makes one session. */
  #refuse(reason: CloseReason, errorCode: string | null): void {
    this.#endSession(reason, errorCode);
    for (const _ of this.#waiting ?? []) {
      this.#association.context.metrics.dropped.add('refused_destination');
    }
    this.#waiting = null;
  }

  /** Passes a datagram of the client on. */
  send(payload: Buffer): void {
    const { config, flowTimeouts, metrics } = this.#association.context;
    if (this.#session === null) {
      metrics.dropped.add('refused_destination');
      return;
    }
    flowTimeouts.add(this);
    if (this.#waiting !== null) {
      const bytes = this.#waitingBytes + payload.length;
      if (this.#waiting.length >= MAX_WAITING || bytes > MAX_WAITING_BYTES) {
        metrics.dropped.add('resolving');
        return;
      }
      this.#waitingBytes = bytes;
      this.#waiting.push(payload);
      return;
    }
    const ip = this.#ip ?? '';
    const socket = this.#association.outerFor(ip);
    if (typeof socket === 'string') {
      this.#unreachable(ip, socket, payload);
      return;
    }
    if (socket.getSendQueueSize() > config.backlog_bytes) {
      metrics.dropped.add('backlog');
      return;
    }
    this.#association.claim(this);
    const hasSent = this.#session.packetsSent > 0;
    try {
      socket.send(payload, this.#target.port, ip, hasSent ? this.#sent : this.#tried(ip, payload));
    } catch {
      // Port 0, which dgram refuses before the kernel could.
      metrics.dropped.add('send_failed');
    }
  }

  /** What becomes of a datagram that may find that the address cannot be reached from here. */
  #tried(
    ip: string,
    payload: Buffer,
  ): (error: NodeJS.ErrnoException | null, bytes: number) => void {
    return (error, bytes) => {
      const code = error?.code ?? '';
      const isFirst = this.#session !== null && this.#session.packetsSent === 0;
      if (isFirst && UNREACHABLE_CODES.has(code)) this.#unreachable(ip, code, payload);
      else this.#sent(error, bytes);
    };
  }

  /** Nothing leaves this machine for `ip`: tries the name's next address, with the same datagram. */
  #unreachable(ip: string, code: string, payload: Buffer): void {
    // The datagram before may have gone on to the next one already.
    if (ip === this.#ip) {
      this.#association.unclaim(this);
      this.#reachNext(code);
    }
    if (this.#session === null) this.#association.context.metrics.dropped.add('send_failed');
    else this.send(payload);
  }

  /** Passes an answer on to the client. */
  receive(payload: Buffer): void {
    this.#association.context.flowTimeouts.add(this);
    this.#association.answer([this.#header, payload], this.#answered);
  }

  onDeadline(): void {
    this.close('idle_timeout', null);
    this.#association.forget(this);
  }

  close(reason: CloseReason, errorCode: string | null): void {
    this.#association.context.flowTimeouts.remove(this);
    this.#waiting = null;
    this.#endSession(reason, errorCode);
  }

  #endSession(reason: CloseReason, errorCode: string | null): void {
    const session = this.#session;
    if (session === null) return;
    this.#session = null;
    session.terminate = null;
    session.close(reason, errorCode);
    const { client, context } = this.#association;
    context.admission.endSession(client.user, client.source);
  }
}

function remoteKey(ip: string, port: number): string {
  return `${ip} ${port}`;
}

/** Only literals come here; Node would put even those into its queue of lookups. */
function lookupLiteral(
  ip: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, ip, isIPv6(ip) ? 6 : 4);
}

function makeSocket(ip: string): Socket {
  return isIPv6(ip)
    ? createSocket({ type: 'udp6', ipv6Only: true, lookup: lookupLiteral })
    : createSocket({ type: 'udp4', lookup: lookupLiteral });
}

/** Exclusive, because workers of node:cluster would share the socket otherwise. */
function bindSocket(socket: Socket, ip: string, port: number): void {
  socket.bind({ address: ip, port, exclusive: true });
}
