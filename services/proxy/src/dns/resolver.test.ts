import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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

function ask(
  resolver: NameResolver,
  name: string,
  networks: readonly string[] = ['192.0.2.9'],
): Promise<Outcome> {
  return new Promise((resolve) => {
    resolver.resolve(name, networks, {
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
    await Promise.all(running.splice(0).map((resolver) => resolver.stop()));
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const running: NameResolver[] = [];
  async function create(config: Partial<DnsConfig> = {}): Promise<NameResolver> {
    const settings = {
      ...loadConfig(dnsConfig, {}),
      servers: [server.address],
      hosts_file: join(dir, 'hosts'),
      resolv_conf: join(dir, 'resolv.conf'),
      timeout_ms: 5_000,
      ...config,
    };
    const made = createNameResolver(settings, 10);
    running.push(made);
    await made.start();
    return made;
  }

  it('gives IPv6 and IPv4 addresses in turns, each once and in canonical text', async () => {
    server.set('both.example', {
      addresses: ['192.0.2.1', '2001:db8::1', '192.0.2.2', '192.0.2.1'],
    });
    expect(await ask(await create(), 'both.example')).toEqual([
      '2001:db8::1',
      '192.0.2.1',
      '192.0.2.2',
    ]);
  });

  it.each([
    ['ipv4', ['192.0.2.1'], ['both.example A']],
    ['ipv6', ['2001:db8::1'], ['both.example AAAA']],
  ] as const)('asks for nothing but %s if only that is wanted', async (family, ips, asked) => {
    server.set('both.example', { addresses: ['192.0.2.1', '2001:db8::1'] });
    expect(await ask(await create({ family }), 'both.example')).toEqual(ips);
    expect(server.questions).toEqual(asked);
  });

  it.each([
    ['a name that does not exist', { rcode: 3 }, 'ENOTFOUND'],
    ['a name without addresses', { addresses: [] }, 'ENODATA'],
    ['a failing server', { rcode: 2 }, 'ESERVFAIL'],
    ['a refusing server', { rcode: 5 }, 'EREFUSED'],
    ['a silent server', 'silent', 'ETIMEOUT'],
  ] as const)('reports %s', async (_, record, code) => {
    server.set('wrong.example', record);
    const startedMs = performance.now();
    const outcome = await ask(await create({ timeout_ms: 2_000 }), 'wrong.example');
    expect(performance.now() - startedMs).toBeLessThan(30_000);
    expect(outcome).toEqual({ code });
  });

  it('knows localhost and names below it without a query (RFC 6761)', async () => {
    const resolver = await create();
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
    const resolver = await create();
    expect(await ask(resolver, 'name.example')).toEqual(['192.0.2.7', '2001:db8::7']);
    expect(await ask(resolver, 'alias')).toEqual(['192.0.2.7']);
    writeFileSync(file, '192.0.2.8 name.example\n');
    await vi.waitFor(async () => {
      expect(await ask(resolver, 'name.example')).toEqual(['192.0.2.8']);
    }, 60_000);
    expect(server.questions).toEqual([]);
  });

  it('searches the domains of resolv.conf for names with few dots', async () => {
    writeFileSync(join(dir, 'resolv.conf'), 'search one.example two.example.\noptions ndots:2\n');
    server.set('db.two.example', { addresses: ['192.0.2.1'] });
    server.set('a.b.c', { addresses: ['192.0.2.2'] });
    const resolver = await create({ family: 'ipv4' });
    expect(await ask(resolver, 'db')).toEqual(['192.0.2.1']);
    expect(await ask(resolver, 'a.b.c')).toEqual(['192.0.2.2']);
    const searched: (string | null)[] = [];
    for (const name of ['db', 'a.b.c']) {
      resolver.resolve(name, [], {
        resolved: (_addresses, made) => searched.push(made),
        resolveFailed: () => undefined,
      });
    }
    expect(searched).toEqual(['db.two.example', null]);
    expect(server.questions).toEqual(['db.one.example A', 'db.two.example A', 'a.b.c A']);
  });

  it('asks once for names that are wanted at the same time, and keeps the answer for its TTL', async () => {
    server.set('hot.example', { addresses: ['192.0.2.1'], ttl_s: 30 });
    const resolver = await create({ family: 'ipv4', cache_ttl_max_ms: 10_000 });
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
    const resolver = await create({ family: 'ipv4' });
    await ask(resolver, 'now.example');
    await ask(resolver, 'now.example');
    expect(server.questions).toHaveLength(2);
    expect(resolver.stats.cached).toBe(0);
  });

  it('keeps no more answers than it may, the oldest goes first', async () => {
    const resolver = await create({ family: 'ipv4', cache_entries: 2 });
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
    expect(await ask(await create({ timeout_ms: 60_000 }), 'half.example')).toEqual(ips);
    expect(performance.now() - startedMs).toBeLessThan(30_000);
  });

  it('refuses names above its queue, and gives places back once the queries have ended', async () => {
    for (const name of ['s1.a', 's2.b', 's3.c', 's4.d']) server.set(name, 'silent');
    server.set('quick.e', { addresses: ['192.0.2.1'] });
    const resolver = await create({ family: 'ipv4', concurrency: 8, queue: 1, timeout_ms: 1_500 });
    const slow = ['s1.a', 's2.b'].map((name) => ask(resolver, name));
    // A quarter of the places is one source's share.
    const waiting = ask(resolver, 's3.c');
    expect(resolver.stats).toMatchObject({ active: 2, queued: 1 });
    expect(await ask(resolver, 's4.d')).toEqual({ code: 'EQUEUEFULL' });
    expect(await ask(resolver, 'quick.e', ['192.0.2.8'])).toEqual(['192.0.2.1']);
    for (const outcome of await Promise.all([...slow, waiting])) {
      expect(outcome).toEqual({ code: 'ETIMEOUT' });
    }
    await vi.waitFor(() => {
      expect(resolver.stats).toMatchObject({ active: 0, queued: 0 });
    }, 60_000);
  });

  it('resolves the names of a bystander while many sources ask for names of a silent zone', async () => {
    const resolver = await create({
      family: 'ipv4',
      concurrency: 64,
      queue: 256,
      timeout_ms: 3_000,
    });
    const flood: Promise<Outcome>[] = [];
    for (let n = 0; n < 300; n += 1) {
      const name = `x${n}.silent.example`;
      server.set(name, 'silent');
      flood.push(ask(resolver, name, [`198.51.100.${n % 30}`]));
    }
    const startedMs = performance.now();
    for (let n = 0; n < 20; n += 1) {
      server.set(`good${n}.test`, { addresses: ['192.0.2.1'] });
      expect(await ask(resolver, `good${n}.test`, ['203.0.113.1'])).toEqual(['192.0.2.1']);
    }
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    await Promise.all(flood);
  });

  it('asks for one name for each source below a zone that does not answer, until it does', async () => {
    const resolver = await create({ family: 'ipv4', concurrency: 256, timeout_ms: 1_500 });
    const names = Array.from({ length: 10 }, (_, n) => `x${n}.silent.example`);
    for (const name of names) server.set(name, 'silent');
    await Promise.all(names.map((name) => ask(resolver, name)));
    server.set('back.silent.example', { addresses: ['192.0.2.1'], delay_ms: 50 });
    const probe = ask(resolver, 'back.silent.example');
    expect(await ask(resolver, 'other.silent.example')).toEqual({ code: 'ETIMEOUT' });
    expect(await probe).toEqual(['192.0.2.1']);
    expect(server.questions.filter((question) => !question.startsWith('x'))).toEqual([
      'back.silent.example A',
    ]);
    expect(await ask(resolver, 'new.silent.example')).toEqual({ code: 'ENOTFOUND' });
  });

  it('remembers for a short time that a name does not exist', async () => {
    const resolver = await create({ family: 'ipv4', negative_ttl_ms: 5_000 });
    for (const _ of [1, 2]) {
      expect(await ask(resolver, 'none.example')).toEqual({ code: 'ENOTFOUND' });
    }
    expect(server.questions).toEqual(['none.example A']);
    vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 5_001);
    const later = ask(resolver, 'none.example');
    vi.restoreAllMocks();
    await later;
    expect(server.questions).toHaveLength(2);
  });

  it('does not ask for a name whose client has left before its turn', async () => {
    const resolver = await create({ family: 'ipv4', concurrency: 1 });
    server.set('first.example', { addresses: ['192.0.2.1'], delay_ms: 50 });
    const first = ask(resolver, 'first.example');
    const waiter = { resolved: vi.fn(), resolveFailed: vi.fn() };
    resolver.resolve('left.example', ['192.0.2.1'], waiter)?.leave(waiter);
    expect(resolver.stats.queued).toBe(0);
    await first;
    expect(await ask(resolver, 'next.example')).toEqual({ code: 'ENOTFOUND' });
    expect(server.questions).toEqual(['first.example A', 'next.example A']);
    expect(waiter.resolveFailed).not.toHaveBeenCalled();
  });

  it('answers two thousand waiters for one name without blocking the event loop', async () => {
    const resolver = await create({ family: 'ipv4' });
    server.set('hot.example', { addresses: ['192.0.2.1'] });
    let told = 0;
    let toldInOneTurn = 0;
    let mostInOneTurn = 0;
    const turn = (): void => {
      mostInOneTurn = Math.max(mostInOneTurn, toldInOneTurn);
      toldInOneTurn = 0;
      if (told < 2_000) setImmediate(turn);
    };
    await new Promise<void>((resolve) => {
      for (let n = 0; n < 2_000; n += 1) {
        resolver.resolve('hot.example', [`192.0.2.${n % 256}`], {
          resolved: () => {
            told += 1;
            toldInOneTurn += 1;
            if (told === 2_000) resolve();
          },
          resolveFailed: () => undefined,
        });
      }
      setImmediate(turn);
    });
    expect(mostInOneTurn).toBeLessThanOrEqual(128);
  });
});
