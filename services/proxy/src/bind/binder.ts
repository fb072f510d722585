import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { canonicalIp } from '@sockscope/schemas/net';
import { DeadlineQueue } from '../collections/deadline-queue.js';
import type { DeadlineNode } from '../collections/deadline-queue.js';
import { PortPicker } from '../limits/ports.js';
import type { DescriptorBudget } from '../limits/descriptors.js';
import type { Target } from '../socks5/target.js';
import type { ResolveWaiter } from '../dns/lookup.js';
import type { NameResolver, Resolution } from '../dns/resolver.js';
import type { BindConfig } from './config.js';

export type BindFailure = 'connect_failed' | 'dns_failed' | 'bind_timeout' | 'bind_peer_rejected';

/** The caller of a bind. After `bound`, exactly one of `peerCame` and `bindFailed` is called, unless it is cancelled. */
export interface BindOwner {
  /** A port is open: the first reply can be sent. */
  bound(ip: string, port: number): void;
  /**
   * Asked for every peer, after it was checked against the address that the client announced.
   *
   * @param searched the name that a search list made of the announced one; null if there is none.
   */
  mayAccept(ip: string, port: number, searched: string | null): boolean;
  peerCame(peer: Socket, ip: string, port: number, waitedMs: number): void;
  bindFailed(failure: BindFailure, errorCode: string | null, waitedMs: number): void;
}

export interface Binder {
  readonly enabled: boolean;
  /** A bind that does nothing until `begin`. */
  create(owner: BindOwner): Bind;
}

interface BindDeps {
  readonly resolver: NameResolver;
  readonly descriptors: DescriptorBudget;
}

interface BindContext extends BindDeps {
  readonly config: BindConfig;
  readonly ports: PortPicker;
  readonly timeouts: DeadlineQueue;
}

export function createBinder(config: BindConfig, deps: BindDeps): Binder {
  const context: BindContext = {
    ...deps,
    config,
    ports: new PortPicker(config.ports),
    timeouts: new DeadlineQueue(config.timeout_ms),
  };
  return { enabled: config.enabled, create: (owner) => new Bind(context, owner) };
}

/**
 * One BIND request (RFC 1928, section 4): waits on a port of its own for the peer that the client
 * announced. The announced port is not compared, because the port that a peer connects from is
 * unknown. A client that does not know its peer's address asks for 0.0.0.0 or ::, and any peer that
 * the ACL allows may connect. A wrong peer is dropped and the wait continues, so that a port scan cannot
 * end it. If the right peer never connects, the wrong one is the reason.
 */
export class Bind implements DeadlineNode, ResolveWaiter {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly #context: BindContext;
  /** Null once it is over. */
  #owner: BindOwner | null;
  #server: Server | null = null;
  #localIp = '';
  /** Addresses that the peer may have; null is any. */
  #peers: readonly string[] | null = null;
  #searched: string | null = null;
  #resolution: Resolution | null = null;
  #attempts = 0;
  #startedMs = 0;
  #sawWrongPeer = false;

  constructor(context: BindContext, owner: BindOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  /**
   * @param networks of the client.
   * @param reachedAt local address by which the client reached the proxy.
   */
  begin(target: Target, networks: readonly string[], reachedAt: string): void {
    this.#startedMs = performance.now();
    this.#localIp =
      this.#context.config.listen_ip === '' ? reachedAt : this.#context.config.listen_ip;
    this.#attempts = this.#context.ports.attempts;
    if (target.ip !== null) {
      const isUnspecified = target.ip === '0.0.0.0' || target.ip === '::';
      this.#peers = isUnspecified ? null : [target.ip];
      this.#listen();
    } else if (target.name === null) this.#fail('dns_failed', 'EBADNAME');
    else this.#resolution = this.#context.resolver.resolve(target.name, networks, this);
  }

  resolved(addresses: readonly string[], searched: string | null): void {
    this.#peers = addresses;
    this.#searched = searched;
    this.#listen();
  }

  resolveFailed(code: string): void {
    this.#fail('dns_failed', code);
  }

  cancel(): void {
    this.#end();
  }

  onDeadline(): void {
    this.#fail(this.#sawWrongPeer ? 'bind_peer_rejected' : 'bind_timeout', null);
  }

  #listen(): void {
    if (this.#owner === null) return;
    this.#attempts -= 1;
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    this.#server = server;
    this.#context.descriptors.take();
    server.on('connection', (peer: Socket) => {
      this.#peerCame(peer);
    });
    server.on('error', (error: NodeJS.ErrnoException) => {
      this.#listenFailed(error.code ?? 'EUNKNOWN');
    });
    // Exclusive: with several workers the port must not be shared with them.
    const port = this.#context.ports.next();
    server.listen({ host: this.#localIp, port, backlog: 8, exclusive: true }, () => {
      this.#listening(server.address() as AddressInfo);
    });
  }

  #listenFailed(code: string): void {
    this.#closeServer();
    if (code === 'EADDRINUSE' && this.#attempts > 0) this.#listen();
    else this.#fail('connect_failed', code);
  }

  #closeServer(): void {
    if (this.#server === null) return;
    this.#server.close();
    this.#server = null;
    this.#context.descriptors.give();
  }

  #listening(address: AddressInfo): void {
    if (this.#owner === null) return;
    this.#context.timeouts.add(this);
    const { advertised_ip: advertised } = this.#context.config;
    const ip = advertised === '' ? (canonicalIp(address.address) ?? '0.0.0.0') : advertised;
    this.#owner.bound(ip, address.port);
  }

  #peerCame(peer: Socket): void {
    const owner = this.#owner;
    const ip = canonicalIp(peer.remoteAddress ?? '');
    const port = peer.remotePort ?? 0;
    peer.on('error', ignore);
    const isExpected = ip !== null && (this.#peers === null || this.#peers.includes(ip));
    if (owner === null || !isExpected || !owner.mayAccept(ip, port, this.#searched)) {
      this.#sawWrongPeer = true;
      peer.destroy();
      return;
    }
    this.#end();
    owner.peerCame(peer, ip, port, Math.round(performance.now() - this.#startedMs));
  }

  #fail(failure: BindFailure, errorCode: string | null): void {
    const owner = this.#owner;
    if (owner === null) return;
    this.#end();
    owner.bindFailed(failure, errorCode, Math.round(performance.now() - this.#startedMs));
  }

  #end(): void {
    this.#owner = null;
    this.#resolution?.leave(this);
    this.#resolution = null;
    this.#context.timeouts.remove(this);
    this.#closeServer();
  }
}

function ignore(): void {
  // `close` follows an error; without a listener the error would end the process.
}
