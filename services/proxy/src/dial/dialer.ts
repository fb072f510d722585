import type { Socket } from 'node:net';
import { DeadlineQueue } from '../collections/deadline-queue.js';
import type { DeadlineNode } from '../collections/deadline-queue.js';
import type { ResolveWaiter } from '../dns/lookup.js';
import type { NameResolver, Resolution } from '../dns/resolver.js';
import type { DescriptorBudget } from '../limits/descriptors.js';
import type { Target } from '../socks5/target.js';
import { listenAsConnecting, TapSocket } from '../tcp/socket.js';
import type { SocketOwner } from '../tcp/socket.js';
import type { DialConfig } from './config.js';

export type DialFailure = 'dns_failed' | 'connect_failed' | 'connect_timeout' | 'acl_rejected';

/** The caller of a dial. Exactly one of `dialed` and `dialFailed` is called, unless the dial is cancelled. */
export interface DialOwner {
  /**
   * Asked for each address right before it is connected to.
   *
   * @param searched the name that a search list made of the requested one; null if there is none.
   */
  mayDial(ip: string, searched: string | null): boolean;
  /**
   * `upstream` is connected, with half-open allowed; the owner releases its descriptor. Bytes that it
   * reads before a relay takes it over wait in it.
   */
  dialed(upstream: Socket, ip: string, connectMs: number): void;
  dialFailed(failure: DialFailure, errorCode: string | null, tookMs: number): void;
}

export interface Dialer {
  /** A dial that does nothing until `begin`. */
  create(owner: DialOwner): Dial;
}

/** The common result of several addresses of a name: the first errno of this list that occurred is reported. */
const TELLING_CODES = ['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'];

/** Addresses of one name that are tried at once; one if descriptors are short. */
const MAX_ATTEMPTS = 3;

/** An address that is being connected to. */
class Attempt implements SocketOwner {
  readonly socket = new TapSocket();
  readonly ip: string;
  readonly startedMs = performance.now();
  readonly #dial: Dial;

  constructor(dial: Dial, ip: string) {
    this.#dial = dial;
    this.ip = ip;
  }

  begin(port: number): void {
    listenAsConnecting(this.socket, this);
    this.socket.connect({ host: this.ip, port });
  }

  onConnect(): void {
    this.#dial.connected(this);
  }

  onError(_: Socket, error: NodeJS.ErrnoException): void {
    this.#dial.attemptFailed(this, error.code ?? 'EUNKNOWN');
  }

  onEnd(): void {
    // The relay gets it as an event.
  }

  onClose(): void {
    // An error comes before.
  }
}

interface DialDeps {
  readonly resolver: NameResolver;
  readonly descriptors: DescriptorBudget;
}

interface DialContext extends DialDeps {
  readonly config: DialConfig;
  readonly timeouts: DeadlineQueue;
}

export function createDialer(config: DialConfig, deps: DialDeps): Dialer {
  const context: DialContext = {
    ...deps,
    config,
    timeouts: new DeadlineQueue(config.connect_timeout_ms),
  };
  return { create: (owner) => new Dial(context, owner) };
}

/**
 * One attempt to reach a target: its addresses in order, each with a head start over the next
 * (RFC 8305, section 5), the first one that connects wins.
 */
export class Dial implements DeadlineNode, ResolveWaiter {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly #context: DialContext;
  /** Null once the dial is over. */
  #owner: DialOwner | null;
  #startedMs = 0;
  #port = 0;
  #addresses: readonly string[] = [];
  #searched: string | null = null;
  #next = 0;
  #attempts: Attempt[] = [];
  #headStart: NodeJS.Timeout | null = null;
  #code: string | null = null;
  #resolution: Resolution | null = null;
  #isResolving = false;
  #isBlocked = false;

  constructor(context: DialContext, owner: DialOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  /**
   * Starts; the owner may be called before this returns.
   *
   * @param networks of the client.
   */
  begin(target: Target, networks: readonly string[]): void {
    this.#startedMs = performance.now();
    this.#port = target.port;
    this.#context.timeouts.add(this);
    if (target.ip !== null) {
      this.#addresses = [target.ip];
      this.#tryNext();
    } else if (target.name === null) {
      this.#fail('dns_failed', 'EBADNAME');
    } else {
      this.#isResolving = true;
      this.#resolution = this.#context.resolver.resolve(target.name, networks, this);
    }
  }

  /** Ends the dial without calling the owner. */
  cancel(): void {
    this.#end(null);
  }

  resolved(addresses: readonly string[], searched: string | null): void {
    if (this.#owner === null) return;
    this.#isResolving = false;
    this.#searched = searched;
    this.#addresses = addresses.slice(0, this.#context.config.max_addresses);
    this.#tryNext();
  }

  resolveFailed(code: string): void {
    this.#fail('dns_failed', code);
  }

  onDeadline(): void {
    if (this.#isResolving) this.#fail('dns_failed', 'ETIMEOUT');
    else this.#fail('connect_timeout', 'ETIMEDOUT');
  }

  #tryNext(): void {
    const owner = this.#owner;
    if (owner === null) return;
    while (this.#next < this.#addresses.length) {
      const ip = this.#addresses[this.#next] ?? '';
      this.#next += 1;
      if (owner.mayDial(ip, this.#searched)) {
        this.#attempt(ip);
        if (this.#next < this.#addresses.length) this.#giveHeadStart();
        return;
      }
      this.#isBlocked = true;
    }
    if (this.#attempts.length > 0) return;
    if (this.#code !== null) this.#fail('connect_failed', this.#code);
    else if (this.#isBlocked) this.#fail('acl_rejected', null);
    else this.#fail('dns_failed', 'ENODATA');
  }

  #giveHeadStart(): void {
    if (this.#headStart !== null) clearTimeout(this.#headStart);
    this.#headStart = setTimeout(() => {
      this.#headStart = null;
      if (this.#makeRoom()) this.#tryNext();
      else this.#giveHeadStart();
    }, this.#context.config.attempt_delay_ms);
  }

  /**
   * Whether one more attempt may begin. Each takes a descriptor that others may need: if all are
   * under way, the oldest one is given up after its part of the time.
   */
  #makeRoom(): boolean {
    const { config, descriptors } = this.#context;
    const most = descriptors.isTight ? 1 : MAX_ATTEMPTS;
    // Each of these has had its head start.
    while (this.#attempts.length > most) this.#giveUpOldest();
    if (this.#attempts.length < most) return true;
    const patienceMs = (config.connect_timeout_ms * most) / (this.#addresses.length + most);
    const [oldest] = this.#attempts;
    if (oldest === undefined || performance.now() - oldest.startedMs < patienceMs) return false;
    this.#giveUpOldest();
    return true;
  }

  #giveUpOldest(): void {
    const [oldest] = this.#attempts;
    if (oldest === undefined) return;
    this.#drop(oldest, 'ETIMEDOUT');
    oldest.socket.owner = null;
    oldest.socket.destroy();
  }

  /** Takes an attempt out that has failed. */
  #drop(attempt: Attempt, code: string): void {
    this.#context.descriptors.give();
    this.#attempts = this.#attempts.filter((other) => other !== attempt);
    if (this.#code === null || rank(code) < rank(this.#code)) this.#code = code;
  }

  #attempt(ip: string): void {
    this.#context.descriptors.take();
    const attempt = new Attempt(this, ip);
    this.#attempts.push(attempt);
    attempt.begin(this.#port);
  }

  connected(attempt: Attempt): void {
    const owner = this.#owner;
    if (owner === null) return;
    this.#end(attempt);
    owner.dialed(attempt.socket, attempt.ip, Math.round(performance.now() - this.#startedMs));
  }

  attemptFailed(attempt: Attempt, code: string): void {
    if (this.#owner === null) return;
    this.#drop(attempt, code);
    // An attempt that ended at once needs no head start.
    if (this.#headStart !== null) clearTimeout(this.#headStart);
    this.#headStart = null;
    this.#tryNext();
  }

  #fail(failure: DialFailure, errorCode: string | null): void {
    const owner = this.#owner;
    if (owner === null) return;
    this.#end(null);
    owner.dialFailed(failure, errorCode, Math.round(performance.now() - this.#startedMs));
  }

  #end(winner: Attempt | null): void {
    this.#owner = null;
    this.#resolution?.leave(this);
    this.#resolution = null;
    this.#context.timeouts.remove(this);
    if (this.#headStart !== null) clearTimeout(this.#headStart);
    for (const attempt of this.#attempts) {
      attempt.socket.owner = null;
      if (attempt === winner) continue;
      attempt.socket.destroy();
      this.#context.descriptors.give();
    }
    this.#attempts = [];
  }
}

function rank(code: string): number {
  const at = TELLING_CODES.indexOf(code);
  return at === -1 ? TELLING_CODES.length : at;
}
