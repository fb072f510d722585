import { Resolver as Channel } from 'node:dns';
import { readFileSync, statSync } from 'node:fs';
import { canonicalIp } from '@sockscope/schemas/net';
import { DeadlineQueue } from '../collections/deadline-queue.js';
import type { DeadlineNode } from '../collections/deadline-queue.js';
import type { DnsConfig } from './config.js';
import { candidatesOf, parseHosts, parseSearchRules } from './files.js';

/** Who asked. One of the two is called, once, perhaps before `resolve` returns. */
export interface ResolveWaiter {
  /**
   * Canonical addresses, at least one, IPv6 and IPv4 taking turns (RFC 8305, section 4).
   *
   * @param searched the name that the search list made of the one asked for; null where none.
   */
  resolved(addresses: readonly string[], searched: string | null): void;
  /** `code`: ENOTFOUND, ETIMEOUT … as in node:dns, or EQUEUEFULL. */
  resolveFailed(code: string): void;
}

/**
 * Turns names into addresses. Asks name servers itself (c-ares) instead of libc, whose resolver
 * would hold one of libuv's four threads for as long as a slow name takes.
 */
export interface NameResolver {
  /** @param name in lower case, without a dot at its end. */
  resolve(name: string, waiter: ResolveWaiter): void;
  readonly stats: ResolverStats;
}

export interface ResolverStats {
  active: number;
  queued: number;
  cached: number;
  hits: number;
  answered: number;
  failed: number;
}

const FILE_CHECK_MS = 5_000;
const MAX_FILE_BYTES = 1024 * 1024;
/** How long an answer of one family waits for the other one (RFC 8305, section 3). */
const RESOLUTION_DELAY_MS = 50;
/** After these the next name of the search list is asked for; every other failure is final. */
const SEARCH_ON = ['ENOTFOUND', 'ENODATA'];
const LOOPBACK = ['127.0.0.1', '::1'];

interface CacheEntry {
  readonly addresses: readonly string[];
  readonly searched: string | null;
  readonly expiresMs: number;
}

interface Answer {
  readonly address: string;
  readonly ttl: number;
}

/** A file's parsed content, read again when its mtime changes; a file that is not there is empty. */
class WatchedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #mtimeMs = -1;
  #value: T;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
    this.#value = parse('');
    this.check();
  }

  get value(): T {
    return this.#value;
  }

  /** Whether the content has changed. */
  check(): boolean {
    const stat = statSync(this.#path, { throwIfNoEntry: false });
    const mtimeMs = stat?.mtimeMs ?? 0;
    if (mtimeMs === this.#mtimeMs) return false;
    this.#mtimeMs = mtimeMs;
    const isReadable = stat !== undefined && stat.size <= MAX_FILE_BYTES;
    try {
      this.#value = this.#parse(isReadable ? readFileSync(this.#path, 'utf8') : '');
    } catch {
      // Unreadable counts as absent, as in libc.
      this.#value = this.#parse('');
    }
    return true;
  }
}

export function createNameResolver(config: DnsConfig): NameResolver {
  const hosts = new WatchedFile(config.hosts_file, parseHosts);
  const search = new WatchedFile(config.resolv_conf, parseSearchRules);
  const cache = new Map<string, CacheEntry>();
  const inFlight = new Map<string, Lookup>();
  const queue: Lookup[] = [];
  const deadlines = new DeadlineQueue(config.timeout_ms);
  const stats: ResolverStats = { active: 0, queued: 0, cached: 0, hits: 0, answered: 0, failed: 0 };
  let channel = createChannel();
  let nextFileCheckMs = 0;

  function createChannel(): Channel {
    // Two tries, the second one twice as long, fill the time that one name has.
    const made = new Channel({ timeout: Math.ceil(config.timeout_ms / 3), tries: 2 });
    if (config.servers.length > 0) made.setServers(config.servers);
    return made;
  }

  function checkFiles(): void {
    const nowMs = performance.now();
    if (nowMs < nextFileCheckMs) return;
    nextFileCheckMs = nowMs + FILE_CHECK_MS;
    const hostsChanged = hosts.check();
    const confChanged = search.check();
    // c-ares reads its servers when a channel is made; lookups under way keep the old one.
    if (confChanged && config.servers.length === 0) channel = createChannel();
    if (hostsChanged || confChanged) cache.clear();
  }

  function local(key: string): readonly string[] | null {
    const fromHosts = hosts.value.get(key);
    if (fromHosts !== undefined) return fromHosts.filter(isWanted);
    // RFC 6761, section 6.3: never asked of a name server.
    if (key === 'localhost' || key.endsWith('.localhost')) return LOOPBACK.filter(isWanted);
    return null;
  }

  function isWanted(ip: string): boolean {
    if (config.family === 'both') return true;
    return (config.family === 'ipv6') === ip.includes(':');
  }

  function remember(
    key: string,
    { addresses, searched }: Omit<CacheEntry, 'expiresMs'>,
    ttlMs: number,
  ): void {
    if (config.cache_entries === 0 || ttlMs <= 0) return;
    if (cache.size >= config.cache_entries) {
      const oldest = cache.keys().next();
      if (oldest.done !== true) cache.delete(oldest.value);
    }
    cache.set(key, { addresses, searched, expiresMs: performance.now() + ttlMs });
  }

  function fromCache(key: string): CacheEntry | null {
    const entry = cache.get(key);
    if (entry === undefined) return null;
    if (entry.expiresMs > performance.now()) return entry;
    cache.delete(key);
    return null;
  }

  /** One name on its way, with everybody who waits for it. */
  class Lookup implements DeadlineNode {
    deadlineQueue: DeadlineQueue | null = null;
    deadlineMs = 0;
    deadlinePrev: DeadlineNode | null = null;
    deadlineNext: DeadlineNode | null = null;
    readonly key: string;
    readonly waiters: ResolveWaiter[] = [];
    readonly #candidates: string[];
    #candidate = 0;
    /** Guards against answers to an earlier candidate. */
    #round = 0;
    #pending = 0;
    #answers: Answer[] = [];
    #code = 'ENODATA';
    #delay: NodeJS.Timeout | null = null;
    #queriesUnderWay = 0;
    #isStarted = false;
    #isDone = false;

    constructor(key: string) {
      this.key = key;
      this.#candidates = candidatesOf(key, search.value);
    }

    start(): void {
      this.#isStarted = true;
      stats.active += 1;
      this.#ask();
    }

    #ask(): void {
      const name = this.#candidates[this.#candidate] ?? this.key;
      this.#round += 1;
      const round = this.#round;
      this.#answers = [];
      this.#pending = config.family === 'both' ? 2 : 1;
      this.#queriesUnderWay += this.#pending;
      const callback = (error: NodeJS.ErrnoException | null, records: Answer[]): void => {
        this.#queriesUnderWay -= 1;
        if (round === this.#round && !this.#isDone) this.#take(error, records);
        this.#freePlace();
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
            if (!this.#isDone) this.#succeed();
          }, RESOLUTION_DELAY_MS);
        }
        return;
      }
      if (this.#answers.length > 0) this.#succeed();
      else if (SEARCH_ON.includes(this.#code) && this.#candidate + 1 < this.#candidates.length) {
        this.#candidate += 1;
        this.#ask();
      } else this.fail(this.#code);
    }

    #succeed(): void {
      const addresses = interleave(this.#answers);
      if (addresses.length === 0) {
        this.fail('ENODATA');
        return;
      }
      const ttlMs = Math.min(...this.#answers.map((answer) => answer.ttl)) * 1_000;
      const name = this.#candidates[this.#candidate] ?? this.key;
      const searched = name === this.key ? null : name;
      remember(this.key, { addresses, searched }, Math.min(ttlMs, config.cache_ttl_max_ms));
      stats.answered += 1;
      this.#finish();
      for (const waiter of this.waiters) waiter.resolved(addresses, searched);
    }

    fail(code: string): void {
      if (this.#isDone) return;
      stats.failed += 1;
      this.#finish();
      for (const waiter of this.waiters) waiter.resolveFailed(code);
    }

    onDeadline(): void {
      this.fail('ETIMEOUT');
    }

    #finish(): void {
      this.#isDone = true;
      if (this.#delay !== null) clearTimeout(this.#delay);
      deadlines.remove(this);
      if (inFlight.get(this.key) === this) inFlight.delete(this.key);
      if (!this.#isStarted) {
        const at = queue.indexOf(this);
        if (at !== -1) queue.splice(at, 1);
      }
      this.#freePlace();
    }

    /** The place is free when c-ares has let go of the queries too, so that the bound is a real one. */
    #freePlace(): void {
      if (!this.#isDone || !this.#isStarted || this.#queriesUnderWay > 0) return;
      this.#isStarted = false;
      stats.active -= 1;
      queue.shift()?.start();
    }
  }

  return {
    get stats() {
      stats.queued = queue.length;
      stats.cached = cache.size;
      return stats;
    },
    resolve(key, waiter) {
      checkFiles();
      const here = local(key);
      const known = here === null ? fromCache(key) : { addresses: here, searched: null };
      if (known !== null) {
        stats.hits += 1;
        if (known.addresses.length > 0) waiter.resolved(known.addresses, known.searched);
        else waiter.resolveFailed('ENODATA');
        return;
      }
      const running = inFlight.get(key);
      if (running !== undefined) {
        running.waiters.push(waiter);
        return;
      }
      const lookup = new Lookup(key);
      lookup.waiters.push(waiter);
      if (stats.active >= config.concurrency && queue.length >= config.queue) {
        lookup.fail('EQUEUEFULL');
        return;
      }
      inFlight.set(key, lookup);
      deadlines.add(lookup);
      if (stats.active < config.concurrency) lookup.start();
      else queue.push(lookup);
    },
  };
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
