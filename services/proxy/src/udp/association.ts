import type { RemoteInfo, Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import { canonicalIp } from '@sockscope/schemas/net';
import type { DescriptorBudget } from '../limits/descriptors.js';
import type { NameResolver } from '../dns/resolver.js';
import { DeadlineQueue } from '../collections/deadline-queue.js';
import type { DeadlineNode } from '../collections/deadline-queue.js';
import { PortPicker } from '../limits/ports.js';
import { isKnown } from '../policy/policy.js';
import type { ClientIdentity, Policy } from '../policy/policy.js';
import type { SessionGate } from '../policy/session-gate.js';
import { addressEnd } from '../socks5/frames.js';
import { targetOf } from '../socks5/target.js';
import type { Target } from '../socks5/target.js';
import type { UdpConfig } from './config.js';
import { Flow, remoteKey } from './flow.js';
import type { UdpMetrics } from './metrics.js';
import { bindSocket, makeSocket } from './sockets.js';

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
  readonly gate: SessionGate;
  readonly descriptors: DescriptorBudget;
  readonly resolver: NameResolver;
  readonly metrics: UdpMetrics;
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
  /** The port that the client sends from: the announced one, or its first datagram's. */
  #clientPort: number | null = null;
  #attempts = 0;
  /** Flows by the bytes of the address in the client's datagrams, so that finding one decodes nothing. */
  readonly #flows = new Map<string, Flow>();
  /** Flows by the address that answers come from. */
  readonly #byRemote = new Map<string, Flow>();

  constructor(context: AssociationContext, owner: AssociationOwner, client: ClientIdentity) {
    this.context = context;
    this.#owner = owner;
    this.client = client;
  }

  /**
   * @param announced the address that the client will send from; all zeros if it does not know.
   * @param reachedAt local address by which the client reached the proxy.
   */
  begin(announced: Target, reachedAt: string): void {
    const { config, ports } = this.context;
    // Behind a NAT the announced address differs from the real one, and so does the port.
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
    const socket = this.#makeSocket(ip);
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
    // Last, because both success and failure may be reported at once.
    bindSocket(socket, ip, this.context.ports.next());
  }

  #makeSocket(ip: string): Socket {
    const { descriptors } = this.context;
    descriptors.take();
    return makeSocket(ip).once('close', () => {
      descriptors.give();
    });
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
      // The last request of a removed user is recorded; there will be no more.
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

  /** Answers from `remote` belong to this flow, which sent there last. */
  claim(flow: Flow): void {
    this.#byRemote.set(flow.remote, flow);
  }

  /** Takes a flow out of the way of answers: it moves to another address. */
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
    if (this.context.descriptors.isFull) return 'EMFILE';
    const socket = this.#makeSocket(ip);
    let failure: string | null = null;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // From `bind`, which reports at once. Errors of sending come with each datagram.
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
