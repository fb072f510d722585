import { Resolver as Channel } from 'node:dns';
import { LRUCache } from 'lru-cache';
import { DeadlineQueue } from '../collections/deadline-queue.js';
import { createWatchedFile } from '../policy-file/watched-file.js';
import type { WatchedFile } from '../policy-file/watched-file.js';
import type { DnsConfig } from './config.js';
import { candidatesOf, parseHosts, parseSearchRules } from './files.js';
import { Lookup } from './lookup.js';
import type { LookupOwner, Resolved, ResolveWaiter } from './lookup.js';
import { Places } from './places.js';
import { SilentZones } from './silent-zones.js';

/**
 * Turns names into addresses. Asks name servers itself (c-ares) instead of libc, whose resolver
 * would hold one of libuv's four threads for as long as a slow name takes.
 */
export interface NameResolver {
  /**
   * @param name in lower case, without a dot at its end.
   * @param networks of the client that asks, from the widest to the source itself.
   * @returns a handle with which the waiter can leave; null if it has its answer already.
   */
  resolve(name: string, networks: readonly string[], waiter: ResolveWaiter): Resolution | null;
  readonly stats: ResolverStats;
  /** Reads the files. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface Resolution {
  /** The waiter gets no answer any more. */
  leave(waiter: ResolveWaiter): void;
}

export interface ResolverStats {
  active: number;
  queued: number;
  cached: number;
  hits: number;
  answered: number;
  failed: number;
  /** Names that were not asked for because their zone is silent. */
  silent: number;
}

const FILE_CHECK_MS = 5_000;
const MAX_FILE_BYTES = 1024 * 1024;
/** How long a failure is kept that is not about the name itself, at most. */
const FAILURE_TTL_MAX_MS = 1_000;
const NO_SUCH_NAME = ['ENOTFOUND', 'ENODATA'];
/** A name server that asks others answers with the second when those are silent. */
const SILENCE = ['ETIMEOUT', 'ESERVFAIL'];
const LOOPBACK = ['127.0.0.1', '::1'];

interface CacheEntry {
  readonly resolved: Resolved;
  readonly expiresMs: number;
}

/** @param fileCheckMs time between two looks at the files. */
export function createNameResolver(config: DnsConfig, fileCheckMs = FILE_CHECK_MS): NameResolver {
  let hosts = parseHosts('');
  let search = parseSearchRules('');
  const cache = new LRUCache<string, CacheEntry>({ max: Math.max(1, config.cache_entries) });
  const inFlight = new Map<string, Lookup>();
  const places = new Places(config.concurrency, config.queue);
  const silentZones = new SilentZones();
  /** Sources that have a name below a silent zone under way: one each, which finds out whether it is. */
  const probing = new Set<string>();
  const stats: ResolverStats = {
    active: 0,
    queued: 0,
    cached: 0,
    hits: 0,
    answered: 0,
    failed: 0,
    silent: 0,
  };

  function createChannel(): Channel {
    // Two tries, the second one twice as long, fill the time that one name has.
    const made = new Channel({ timeout: Math.ceil(config.timeout_ms / 3), tries: 2 });
    if (config.servers.length > 0) made.setServers(config.servers);
    return made;
  }

  const owner = {
    config,
    channel: createChannel(),
    deadlines: new DeadlineQueue(config.timeout_ms),
    finished(lookup: Lookup, resolved: Resolved): void {
      if (inFlight.get(lookup.name) === lookup) inFlight.delete(lookup.name);
      if (lookup.probe !== null) probing.delete(lookup.probe);
      if ('code' in resolved) stats.failed += 1;
      else stats.answered += 1;
      if (!lookup.wasAsked) return;
      const isSilent = 'code' in resolved && SILENCE.includes(resolved.code);
      if (isSilent) silentZones.timedOut(lookup.name, performance.now());
      else silentZones.answered(lookup.name);
      remember(lookup.name, resolved);
    },
    released(lookup: Lookup): void {
      places.leave(lookup);
    },
  } satisfies LookupOwner;

  function watch(path: string, onText: (text: string) => void): WatchedFile {
    return createWatchedFile(
      {
        path,
        interval_ms: fileCheckMs,
        settle_ms: 0,
        max_bytes: MAX_FILE_BYTES,
        // As in libc.
        is_optional: true,
      },
      {
        onContent(text) {
          onText(text);
          cache.clear();
        },
        onLoad: () => undefined,
      },
    );
  }

  const files = [
    watch(config.hosts_file, (text) => {
      hosts = parseHosts(text);
    }),
    watch(config.resolv_conf, (text) => {
      search = parseSearchRules(text);
      // c-ares reads its servers when a channel is made; lookups under way keep the old one.
      if (config.servers.length === 0) owner.channel = createChannel();
    }),
  ];

  function isWanted(ip: string): boolean {
    if (config.family === 'both') return true;
    return (config.family === 'ipv6') === ip.includes(':');
  }

  function local(name: string): Resolved | null {
    // RFC 6761, section 6.3: localhost is never asked of a name server.
    const isLocalhost = name === 'localhost' || name.endsWith('.localhost');
    const addresses = (hosts.get(name) ?? (isLocalhost ? LOOPBACK : null))?.filter(isWanted);
    if (addresses === undefined) return null;
    return addresses.length > 0 ? { addresses, searched: null, ttlMs: 0 } : { code: 'ENODATA' };
  }

  function remember(name: string, resolved: Resolved): void {
    if (config.cache_entries === 0) return;
    const ttlMs = ttlOf(resolved);
    if (ttlMs > 0) cache.set(name, { resolved, expiresMs: performance.now() + ttlMs });
  }

  function ttlOf(resolved: Resolved): number {
    if (!('code' in resolved)) return Math.min(resolved.ttlMs, config.cache_ttl_max_ms);
    if (NO_SUCH_NAME.includes(resolved.code)) return config.negative_ttl_ms;
    return Math.min(FAILURE_TTL_MAX_MS, config.negative_ttl_ms);
  }

  function fromCache(name: string): Resolved | null {
    const entry = cache.get(name);
    if (entry === undefined) return null;
    if (entry.expiresMs > performance.now()) return entry.resolved;
    cache.delete(name);
    return null;
  }

  function tell(resolved: Resolved, waiter: ResolveWaiter): null {
    if ('code' in resolved) waiter.resolveFailed(resolved.code);
    else waiter.resolved(resolved.addresses, resolved.searched);
    return null;
  }

  return {
    get stats() {
      stats.active = places.active;
      stats.queued = places.waiting;
      stats.cached = cache.size;
      return stats;
    },
    resolve(name, networks, waiter) {
      const known = local(name) ?? fromCache(name);
      if (known !== null) {
        stats.hits += 1;
        return tell(known, waiter);
      }
      const running = inFlight.get(name);
      if (running !== undefined) {
        running.join(waiter);
        return running;
      }
      const zone = silentZones.around(name, performance.now());
      const probe = zone === null ? null : `${networks.at(-1) ?? ''} ${zone}`;
      if (probe !== null && probing.has(probe)) {
        stats.silent += 1;
        return tell({ code: 'ETIMEOUT' }, waiter);
      }
      const lookup = new Lookup(owner, name, networks, candidatesOf(name, search));
      lookup.join(waiter);
      inFlight.set(name, lookup);
      lookup.probe = probe;
      if (probe !== null) probing.add(probe);
      owner.deadlines.add(lookup);
      if (!places.enter(lookup)) lookup.displaced();
      return lookup;
    },
    async start() {
      for (const file of files) await file.start();
    },
    async stop() {
      await Promise.all(files.map((file) => file.stop()));
    },
  };
}
