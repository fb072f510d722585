import type { Resolver as Channel } from 'node:dns';
import { canonicalIp } from '@sockscope/schemas/net';
import type { DeadlineNode, DeadlineQueue } from '../collections/deadline-queue.js';
import type { DnsConfig } from './config.js';
import type { PlaceHolder } from './places.js';

/** The caller. One of the two is called, once, perhaps before `resolve` returns. */
export interface ResolveWaiter {
  /**
   * Canonical addresses, at least one, IPv6 and IPv4 taking turns (RFC 8305, section 4).
   *
   * @param searched the name that the search list made of the requested one; null if there is none.
   */
  resolved(addresses: readonly string[], searched: string | null): void;
  /** `code`: ENOTFOUND, ETIMEOUT … as in node:dns, or EQUEUEFULL. */
  resolveFailed(code: string): void;
}

/** The result of a lookup. */
export type Resolved =
  | {
      readonly addresses: readonly string[];
      readonly searched: string | null;
      /** How long the answer holds, in milliseconds. */
      readonly ttlMs: number;
    }
  | { readonly code: string };

export interface LookupOwner {
  readonly config: DnsConfig;
  readonly channel: Channel;
  readonly deadlines: DeadlineQueue;
  /** Called once, before the waiters get the answer. */
  finished(lookup: Lookup, resolved: Resolved): void;
  /** c-ares has released all queries, or there were none. */
  released(lookup: Lookup): void;
}

/** How long an answer of one family waits for the other one (RFC 8305, section 3). */
const RESOLUTION_DELAY_MS = 50;
/** Failures after which the next name of the search list is tried; every other failure is final. */
const SEARCH_ON = ['ENOTFOUND', 'ENODATA'];
/** Waiters that get their answer in one turn of the event loop: each of them may connect at once. */
const TOLD_PER_TURN = 64;

interface Answer {
  readonly address: string;
  readonly ttl: number;
}

/** One lookup under way, with all its callers. */
export class Lookup implements DeadlineNode, PlaceHolder {
  deadlineQueue: DeadlineQueue | null = null;
  deadlineMs = 0;
  deadlinePrev: DeadlineNode | null = null;
  deadlineNext: DeadlineNode | null = null;
  readonly name: string;
  readonly networks: readonly string[];
  /** Its key among the probes of silent zones; null if it is not one. */
  probe: string | null = null;
  /** Whether name servers were asked. */
  wasAsked = false;
  readonly #owner: LookupOwner;
  readonly #waiters = new Set<ResolveWaiter>();
  readonly #candidates: readonly string[];
  #candidate = 0;
  /** Guards against answers to an earlier candidate. */
  #round = 0;
  #pending = 0;
  #answers: Answer[] = [];
  #code = 'ENODATA';
  #delay: NodeJS.Timeout | null = null;
  #queriesUnderWay = 0;
  #isDone = false;

  /** @param candidates the names to ask for, in order. */
  constructor(
    owner: LookupOwner,
    name: string,
    networks: readonly string[],
    candidates: readonly string[],
  ) {
    this.#owner = owner;
    this.name = name;
    this.networks = networks;
    this.#candidates = candidates;
  }

  join(waiter: ResolveWaiter): void {
    this.#waiters.add(waiter);
  }

  /** The waiter gets no answer any more. A name without waiters is not resolved. */
  leave(waiter: ResolveWaiter): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size === 0 && !this.wasAsked) this.#finish({ code: 'ECANCELLED' });
  }

  start(): void {
    this.wasAsked = true;
    this.#ask();
  }

  displaced(): void {
    this.#finish({ code: 'EQUEUEFULL' });
  }

  onDeadline(): void {
    this.#finish({ code: 'ETIMEOUT' });
  }

  #ask(): void {
    const { config, channel } = this.#owner;
    const name = this.#candidates[this.#candidate] ?? this.name;
    this.#round += 1;
    const round = this.#round;
    this.#answers = [];
    this.#pending = config.family === 'both' ? 2 : 1;
    this.#queriesUnderWay += this.#pending;
    const callback = (error: NodeJS.ErrnoException | null, records: Answer[]): void => {
      this.#queriesUnderWay -= 1;
      if (round === this.#round && !this.#isDone) this.#take(error, records);
      this.#release();
    };
    if (config.family !== 'ipv4') channel.resolve6(name, { ttl: true }, callback);
    if (config.family !== 'ipv6') channel.resolve4(name, { ttl: true }, callback);
  }

  #take(error: NodeJS.ErrnoException | null, records: Answer[]): void {
    this.#pending -= 1;
    if (error === null) this.#answers.push(...records);
    else if (error.code !== undefined && error.code !== 'ENODATA') this.#code = error.code;
    if (this.#pending > 0) {
      if (this.#answers.length > 0) {
        this.#delay = setTimeout(() => {
          this.#succeed();
        }, RESOLUTION_DELAY_MS);
      }
      return;
    }
    if (this.#answers.length > 0) this.#succeed();
    else if (SEARCH_ON.includes(this.#code) && this.#candidate + 1 < this.#candidates.length) {
      this.#candidate += 1;
      this.#ask();
    } else this.#finish({ code: this.#code });
  }

  #succeed(): void {
    const addresses = interleave(this.#answers);
    if (addresses.length === 0) {
      this.#finish({ code: 'ENODATA' });
      return;
    }
    const ttlMs = Math.min(...this.#answers.map((answer) => answer.ttl)) * 1_000;
    const name = this.#candidates[this.#candidate] ?? this.name;
    this.#finish({ addresses, searched: name === this.name ? null : name, ttlMs });
  }

  #finish(resolved: Resolved): void {
    if (this.#isDone) return;
    this.#isDone = true;
    if (this.#delay !== null) clearTimeout(this.#delay);
    this.#owner.deadlines.remove(this);
    this.#owner.finished(this, resolved);
    this.#release();
    this.#tell(resolved);
  }

  /** The place is free when c-ares has released the queries too, so that the limit is real. */
  #release(): void {
    if (this.#isDone && this.#queriesUnderWay === 0) this.#owner.released(this);
  }

  #tell(resolved: Resolved): void {
    let told = 0;
    for (const waiter of this.#waiters) {
      if (told === TOLD_PER_TURN) {
        setImmediate(() => {
          this.#tell(resolved);
        });
        return;
      }
      told += 1;
      this.#waiters.delete(waiter);
      if ('code' in resolved) waiter.resolveFailed(resolved.code);
      else waiter.resolved(resolved.addresses, resolved.searched);
    }
  }
}

/** IPv6 and IPv4 in turns, IPv6 first, each address once. */
function interleave(answers: readonly Answer[]): string[] {
  const ips = answers.map((answer) => canonicalIp(answer.address)).filter((ip) => ip !== null);
  const unique = [...new Set(ips)];
  const v6 = unique.filter((ip) => ip.includes(':'));
  const v4 = unique.filter((ip) => !ip.includes(':'));
  const mixed: string[] = [];
  for (let i = 0; i < Math.max(v6.length, v4.length); i += 1) {
    mixed.push(...v6.slice(i, i + 1), ...v4.slice(i, i + 1));
  }
  return mixed;
}
