import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import { messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import { canonicalHost, formatIp, parseIp } from '@sockscope/schemas/net';
import type { IpAddress } from '@sockscope/schemas/net';
import { protectedRangeOf } from './protection.js';

/** An address and port on which the product itself listens: the proxy, its operations, Kafka, ClickHouse. */
export interface OwnEndpoint {
  /** Name or address; an unspecified address stands for all of this machine. */
  readonly host: string;
  readonly port: number;
}

/** Knows which destinations are the product itself. */
export interface OwnEndpoints {
  coversIp(ip: IpAddress, port: number): boolean;
  /** Whether it is an address of this machine, besides loopback. */
  isThisMachine(ip: IpAddress): boolean;
  /** Checks the name alone, before it is resolved. */
  coversName(name: string, port: number): boolean;
}

interface PortOwner {
  /** Whether this port belongs to the product on every address of this machine. */
  local: boolean;
  readonly ips: Set<string>;
  readonly names: Set<string>;
}

const REFRESH_MS = 60_000;
const RESOLVE_TIMEOUT_MS = 5_000;

/** `host:port`, `[v6]:port`, or a URL with a port. Null for anything else. */
export function parseOwnEndpoint(text: string): OwnEndpoint | null {
  let url: URL;
  try {
    url = new URL(text.includes('://') ? text : `tcp://${text}`);
  } catch {
    return null;
  }
  const defaults: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };
  const port = url.port === '' ? (defaults[url.protocol] ?? 0) : Number(url.port);
  const host = canonicalHost(decodeURIComponent(url.hostname));
  return port === 0 || host.text === null ? null : { host: host.text, port };
}

function addressesOfThisMachine(): Set<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return new Set(
    all.flatMap(({ address }) => {
      const ip = parseIp(address);
      return ip === null ? [] : [formatIp(ip)];
    }),
  );
}

function isLoopbackOrUnspecified(ip: IpAddress): boolean {
  const range = protectedRangeOf(ip)?.class;
  return range === 'loopback' || range === 'unspecified';
}

/**
 * Keeps the product's own endpoints resolved. An endpoint on a loopback, unspecified or other
 * address of this machine closes its port on all addresses of this machine: they lead to the
 * same place often enough. Names are looked up again every minute; one that cannot be looked up
 * keeps its last addresses.
 */
export function createOwnEndpoints(
  initial: readonly OwnEndpoint[],
  deps: {
    readonly logger: Logger;
    /** All addresses of a name. */
    readonly resolve?: (name: string) => Promise<readonly string[]>;
    readonly localAddresses?: () => ReadonlySet<string>;
  },
): OwnEndpoints & {
  start(): Promise<void>;
  stop(): void;
  add(more: readonly OwnEndpoint[]): Promise<void>;
} {
  const endpoints = [...initial];
  const resolve =
    deps.resolve ??
    (async (name: string) => (await lookup(name, { all: true })).map(({ address }) => address));
  const localAddresses = deps.localAddresses ?? addressesOfThisMachine;
  const byPort = new Map<number, PortOwner>();
  let local: ReadonlySet<string> = new Set();
  let timer: NodeJS.Timeout | null = null;

  function ownerOf(port: number): PortOwner {
    let owner = byPort.get(port);
    if (owner === undefined) {
      owner = { local: false, ips: new Set(), names: new Set() };
      byPort.set(port, owner);
    }
    return owner;
  }

  function addIp(owner: PortOwner, ip: IpAddress): void {
    owner.ips.add(formatIp(ip));
    if (isLoopbackOrUnspecified(ip) || local.has(formatIp(ip))) owner.local = true;
  }

  async function resolveInto(owner: PortOwner, name: string): Promise<void> {
    let onTimeout: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_resolve, reject) => {
      onTimeout = setTimeout(() => {
        reject(new Error(`no answer within ${RESOLVE_TIMEOUT_MS} ms`));
      }, RESOLVE_TIMEOUT_MS);
    });
    try {
      for (const address of await Promise.race([resolve(name), deadline])) {
        const ip = parseIp(address);
        if (ip !== null) addIp(owner, ip);
      }
    } catch (error) {
      deps.logger.debug({ name, err: messageOf(error) }, 'own endpoint not resolved');
    } finally {
      clearTimeout(onTimeout);
    }
  }

  async function refresh(): Promise<void> {
    local = localAddresses();
    const lookups = endpoints.flatMap(({ host, port }) => {
      const owner = ownerOf(port);
      const canonical = canonicalHost(host);
      if (canonical.kind === 'ip') addIp(owner, canonical.ip);
      if (canonical.kind !== 'name') return [];
      owner.names.add(canonical.text);
      return [resolveInto(owner, canonical.text)];
    });
    await Promise.all(lookups);
  }

  return {
    coversIp(ip, port) {
      const owner = byPort.get(port);
      if (owner === undefined) return false;
      const text = formatIp(ip);
      return (
        owner.ips.has(text) || (owner.local && (isLoopbackOrUnspecified(ip) || local.has(text)))
      );
    },
    isThisMachine: (ip) => !isLoopbackOrUnspecified(ip) && local.has(formatIp(ip)),
    coversName(name, port) {
      return byPort.get(port)?.names.has(name) === true;
    },
    async start() {
      await refresh();
      timer = setInterval(() => void refresh(), REFRESH_MS);
      timer.unref();
    },
    async add(more) {
      endpoints.push(...more);
      await refresh();
    },
    stop() {
      if (timer !== null) clearInterval(timer);
    },
  };
}
