import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '@sockscope/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startDnsServer } from '../testing/dns-server.js';
import type { DnsServer } from '../testing/dns-server.js';
import { dnsConfig } from './config.js';
import type { DnsConfig } from './config.js';
import { createNameResolver } from './resolver.js';
import type { NameResolver } from './resolver.js';

type Outcome = readonly string[] | { readonly code: string };

function ask(resolver: NameResolver, name: string): Promise<Outcome> {
  return new Promise((resolve) => {
    resolver.resolve(name, {
      resolved: resolve,
      resolveFailed: (code) => {
        resolve({ code });
      },
    });
  });
}

describe('the name resolver', () => {
  let server: DnsServer;
  let dir: string;
  beforeEach(async () => {
    server = await startDnsServer();
    dir = mkdtempSync(join(tmpdir(), 'sockscope-dns-'));
  });
  afterEach(async () => {
    vi.useRealTimers();
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function create(config: Partial<DnsConfig> = {}): NameResolver {
    return createNameResolver({
      ...loadConfig(dnsConfig, {}),
      servers: [server.address],
      hosts_file: join(dir, 'hosts'),
      resolv_conf: join(dir, 'resolv.conf'),
      timeout_ms: 1_000,
      ...config,
    });
  }

  it('gives IPv6 and IPv4 addresses in turns, each once and in canonical text', async () => {
    server.set('both.example', {
      addresses: ['192.0.2.1', '2001:db8::1', '192.0.2.2', '192.0.2.1'],
    });
    expect(await ask(create(), 'both.example')).toEqual(['2001:db8::1', '192.0.2.1', '192.0.2.2']);
  });

  it.each([
    ['ipv4', ['192.0.2.1'], ['both.example A']],
    ['ipv6', ['2001:db8::1'], ['both.example AAAA']],
  ] as const)('asks for nothing but %s where only that is wanted', async (family, ips, asked) => {
    server.set('both.example', { addresses: ['192.0.2.1', '2001:db8::1'] });
    expect(await ask(create({ family }), 'both.example')).toEqual(ips);
    expect(server.questions).toEqual(asked);
  });

  it.each([
    ['a name that does not exist', { rcode: 3 }, 'ENOTFOUND'],
    ['a name without addresses', { addresses: [] }, 'ENODATA'],
    ['a failing server', { rcode: 2 }, 'ESERVFAIL'],
    ['a refusing server', { rcode: 5 }, 'EREFUSED'],
    ['a silent server', 'silent', 'ETIMEOUT'],
  ] as const)('tells of %s', async (_, record, code) => {
    server.set('wrong.example', record);
    const startedMs = performance.now();
    const outcome = await ask(create({ timeout_ms: 300 }), 'wrong.example');
    expect(performance.now() - startedMs).toBeLessThan(4_000);
    expect(outcome).toEqual({ code });
  });

  it('knows localhost and what is below it without asking anybody (RFC 6761)', async () => {
    const resolver = create();
    for (const name of ['localhost', 'a.localhost']) {
      expect(await ask(resolver, name)).toEqual(['127.0.0.1', '::1']);
    }
    expect(server.questions).toEqual([]);
  });

  it('looks into the hosts file first, and again when the file has changed', async () => {
    const file = join(dir, 'hosts');
    writeFileSync(
      file,
      '192.0.2.7 Name.example alias # comment\n2001:db8::7\tname.example\nbad line\n',
    );
    const resolver = create();
    expect(await ask(resolver, 'name.example')).toEqual(['192.0.2.7', '2001:db8::7']);
    expect(await ask(resolver, 'alias')).toEqual(['192.0.2.7']);
    writeFileSync(file, '192.0.2.8 name.example\n');
    utimesSync(file, new Date(), new Date(Date.now() + 10_000));
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_000);
    expect(await ask(resolver, 'name.example')).toEqual(['192.0.2.8']);
    vi.restoreAllMocks();
    expect(server.questions).toEqual([]);
  });

  it('searches the domains of resolv.conf for names with few dots', async () => {
    writeFileSync(join(dir, 'resolv.conf'), 'search one.example two.example.\noptions ndots:2\n');
    server.set('db.two.example', { addresses: ['192.0.2.1'] });
    server.set('a.b.c', { addresses: ['192.0.2.2'] });
    const resolver = create({ family: 'ipv4' });
    expect(await ask(resolver, 'db')).toEqual(['192.0.2.1']);
    expect(await ask(resolver, 'a.b.c')).toEqual(['192.0.2.2']);
    const searched: (string | null)[] = [];
    for (const name of ['db', 'a.b.c']) {
      resolver.resolve(name, {
        resolved: (_addresses, made) => searched.push(made),
        resolveFailed: () => undefined,
      });
    }
    expect(searched).toEqual(['db.two.example', null]);
    expect(server.questions).toEqual(['db.one.example A', 'db.two.example A', 'a.b.c A']);
  });

  it('asks once for names that are wanted at the same time, and keeps the answer for its TTL', async () => {
    server.set('hot.example', { addresses: ['192.0.2.1'], ttl_s: 30 });
    const resolver = create({ family: 'ipv4', cache_ttl_max_ms: 10_000 });
    await Promise.all([1, 2, 3].map(() => ask(resolver, 'hot.example')));
    await ask(resolver, 'hot.example');
    expect(server.questions).toEqual(['hot.example A']);
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 10_001);
    const later = ask(resolver, 'hot.example');
    vi.restoreAllMocks();
    await later;
    expect(server.questions).toEqual(['hot.example A', 'hot.example A']);
  });

  it('keeps no answer with a TTL of 0', async () => {
    server.set('now.example', { addresses: ['192.0.2.1'], ttl_s: 0 });
    const resolver = create({ family: 'ipv4' });
    await ask(resolver, 'now.example');
    await ask(resolver, 'now.example');
    expect(server.questions).toHaveLength(2);
    expect(resolver.stats.cached).toBe(0);
  });

  it('keeps no more answers than it may, the oldest goes first', async () => {
    const resolver = create({ family: 'ipv4', cache_entries: 2 });
    for (const name of ['a.example', 'b.example', 'c.example']) {
      server.set(name, { addresses: ['192.0.2.1'] });
      await ask(resolver, name);
    }
    expect(resolver.stats.cached).toBe(2);
    await ask(resolver, 'c.example');
    expect(server.questions).toHaveLength(3);
    await ask(resolver, 'a.example');
    expect(server.questions).toHaveLength(4);
  });

  it.each([
    ['AAAA', ['192.0.2.1']],
    ['A', ['2001:db8::1']],
  ] as const)('waits no longer than a moment for %s once it has the other', async (lost, ips) => {
    server.set('half.example', {
      addresses: ['192.0.2.1', '2001:db8::1'],
      silent_for: lost,
    });
    const startedMs = performance.now();
    expect(await ask(create({ timeout_ms: 5_000 }), 'half.example')).toEqual(ips);
    expect(performance.now() - startedMs).toBeLessThan(3_000);
  });

  it('lets slow names wait, not others, and refuses above its queue', async () => {
    for (const name of ['s1.example', 's2.example', 's3.example', 's4.example']) {
      server.set(name, 'silent');
    }
    server.set('quick.example', { addresses: ['192.0.2.1'] });
    const resolver = create({ family: 'ipv4', concurrency: 3, queue: 1, timeout_ms: 400 });
    const slow = ['s1.example', 's2.example'].map((name) => ask(resolver, name));
    expect(await ask(resolver, 'quick.example')).toEqual(['192.0.2.1']);
    const third = ask(resolver, 's3.example');
    const queued = ask(resolver, 's4.example');
    expect(resolver.stats).toMatchObject({ active: 3, queued: 1 });
    expect(await ask(resolver, 'one-too-many.example')).toEqual({ code: 'EQUEUEFULL' });
    for (const outcome of await Promise.all([...slow, third, queued])) {
      expect(outcome).toEqual({ code: 'ETIMEOUT' });
    }
    await vi.waitFor(() => {
      expect(resolver.stats).toMatchObject({ active: 0, queued: 0 });
    }, 5_000);
  });
});
