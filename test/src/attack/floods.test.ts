/**
 * Floods from many sources against the real proxy, bounded in count and time. Meanwhile clients that
 * behave continue at a fixed rate and must not be disturbed. Attackers come from 127.0.0.0/8, and from
 * IPv6 networks by PROXY protocol headers.
 */
import { randomBytes, scryptSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { startDnsServer } from '@sockscope/proxy/testing/dns-server';
import type { DnsServer } from '@sockscope/proxy/testing/dns-server';
import { startSilentServer } from '@sockscope/proxy/testing/silent-server';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { metricOf } from '../chaos/support/site.js';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import type { ProxySite } from '../support/proxy-process.js';
import { expectUndisturbed, flood, steady, undisturbed } from './support/load.js';
import type { Attack, Flood } from './support/load.js';
import { BALANCER, SocksClient } from './support/socks-client.js';

/** Nobody listens there: events wait in the spool. */
const NO_KAFKA = '127.0.0.1:9';
/** Limit for early payload; the smallest that can be set. */
const EARLY_BYTES = 1024 * 1024;
/** The most that one read from a socket brings. */
const READ_BYTES = 64 * 1024;
/** Shorter than the flood of logins, which takes 40 s or longer. */
const LOGIN_PATIENCE_MS = 30_000;
const cleanups: (() => unknown)[] = [];

/** A users file of `user0`, `user1` … with one password, whose hash costs little. */
function usersFile(users: number, password: string): string {
  const [ln, r, p] = [11, 8, 1];
  const salt = randomBytes(16);
  const key = scryptSync(password, salt, 32, { N: 2 ** ln, r, p, maxmem: 64 * 1024 * 1024 });
  const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  const hash = `$scrypt$ln=${ln},r=${r},p=${p}$${base64(salt)}$${base64(key)}`;
  const lines = Array.from(
    { length: users },
    (_, n) => `  - { name: user${n}, password: '${hash}' }`,
  );
  return `users:\n${lines.join('\n')}\n`;
}

describe('under a flood', () => {
  let site: ProxySite;
  let dns: DnsServer;
  let origin: Server;
  let port: number;
  beforeEach(async () => {
    dns = await startDnsServer();
    site = await createProxySite(NO_KAFKA);
    origin = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.resume();
    });
    await new Promise<void>((resolve) => {
      origin.listen(0, '0.0.0.0', resolve);
    });
    ({ port } = origin.address() as AddressInfo);
    cleanups.push(
      () => site.remove(),
      () => dns.stop(),
      () => origin.close(),
    );
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  async function start(env: Record<string, string>, descriptors?: number): Promise<void> {
    const proxy = await startProxy(
      site,
      {
        PROXY_DNS_SERVERS: dns.address,
        PROXY_DNS_FAMILY: 'ipv4',
        PROXY_PROXY_PROTOCOL: 'true',
        PROXY_PROXY_PROTOCOL_FROM: BALANCER,
        ...env,
      },
      descriptors,
    );
    // Not with a signal: without Kafka it would try for ten seconds to publish. The attackers' connections
    // end with it.
    cleanups.push(() => proxy.kill());
  }

  async function startFlood(attack: Attack): Promise<Flood> {
    const started = await flood(attack);
    cleanups.push(() => {
      started.kill();
    });
    return started;
  }

  /** Runs one client to its end. */
  async function once<T>(
    source: string,
    work: (client: SocksClient) => Promise<T>,
    patienceMs?: number,
  ): Promise<T> {
    const client = new SocksClient(site.port, source, patienceMs);
    try {
      return await work(client);
    } finally {
      client.destroy();
    }
  }

  const connected = (source: string, host: string) =>
    once(source, async (client) => (await client.connect(host, port)) === 0);

  it('of wrong passwords, known users and new users are let in', async () => {
    await writeFile(site.usersFile, usersFile(20, 'right'));
    // Each login is hashed.
    await start({ PROXY_USERS_FILE: site.usersFile, PROXY_AUTH_CACHE_TTL: '0' });
    const logIn = (source: string, user: number) =>
      once(source, (client) => client.login(`user${user}`, 'right'), LOGIN_PATIENCE_MS);
    const known = (n: number) => logIn(`127.1.0.${1 + (n % 5)}`, n % 5);
    const calm = await undisturbed(5, 10, known);
    const attack = await startFlood({
      kind: 'login',
      proxyPort: site.port,
      lanes: 120,
      limit: 5_000,
    });
    await attack.reached(100);
    const [attacked, fresh] = await Promise.all([
      steady(5, 30, known),
      steady(2, 12, (n) => logIn(`127.2.0.${1 + n}`, 5 + n)),
    ]);
    expect(await attack.stop()).toBeGreaterThanOrEqual(100);
    expectUndisturbed(attacked, calm);
    expect(fresh.succeeded).toBeGreaterThanOrEqual(0.95);
  });

  it('of names below a silent zone, 20 new names a second are resolved', async () => {
    await start({ PROXY_DNS_CONCURRENCY: '128' });
    for (const zone of ['silent.test', 'mute.test']) dns.set(`*.${zone}`, 'silent');
    dns.set('*.good.example', { addresses: ['127.0.0.1'] });
    const asks = (round: string) => (n: number) =>
      connected(`127.1.0.${1 + (n % 5)}`, `${round}${n}.good.example`);
    const calm = await undisturbed(20, 40, asks('calm'));
    const attack = await startFlood({
      kind: 'connect',
      proxyPort: site.port,
      lanes: 300,
      limit: 3_000,
      hosts: ['x{n}.mute.test', 'x{n}.silent.test', 'y{n}.silent.test'],
      port,
    });
    await attack.reached(300);
    const attacked = await steady(20, 80, asks('attacked'));
    expect(await attack.stop()).toBeGreaterThanOrEqual(300);
    expectUndisturbed(attacked, calm);
  });

  it('of silent connections, 50 connections a second are made', async () => {
    await start({ PROXY_MAX_HANDSHAKES: '300', PROXY_MAX_HANDSHAKES_PER_SOURCE: '100' });
    const connects = (n: number) => connected(`127.1.0.${1 + (n % 5)}`, '127.0.0.1');
    const calm = await undisturbed(50, 75, connects);
    const attack = await startFlood({
      kind: 'silence',
      proxyPort: site.port,
      lanes: 600,
      limit: 4_000,
    });
    await attack.reached(600);
    const attacked = await steady(50, 200, connects);
    expect(await attack.stop()).toBeGreaterThanOrEqual(600);
    expectUndisturbed(attacked, calm);
  });

  it('of names with eight silent addresses, descriptors are left for 50 connections a second', async () => {
    const silent = await startSilentServer('0.0.0.0');
    cleanups.push(() => {
      silent.stop();
    });
    dns.set('*.many.test', {
      addresses: [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `127.0.3.${n}`),
    });
    // A client that has left keeps its session for a second: 200 of them are the attackers'.
    await start({ PROXY_MAX_SESSIONS: '300', PROXY_MAX_HANDSHAKES: '200' }, 1_200);
    const connects = (n: number) => connected(`127.1.0.${1 + (n % 5)}`, '127.0.0.1');
    const calm = await undisturbed(50, 75, connects);
    const attack = await startFlood({
      kind: 'connect',
      proxyPort: site.port,
      lanes: 100,
      limit: 800,
      patienceMs: 1_500,
      hosts: ['x{n}.many.test'],
      port: silent.port,
    });
    await attack.reached(100);
    const attacked = await steady(50, 200, connects);
    expect(await attack.stop()).toBeGreaterThanOrEqual(100);
    expectUndisturbed(attacked, calm);
  });

  it('of payload for destinations that do not answer, memory is bounded and 50 connections a second are made', async () => {
    const silent = await startSilentServer('0.0.0.0');
    cleanups.push(() => {
      silent.stop();
    });
    await start({ PROXY_EARLY_PAYLOAD_BYTES: String(EARLY_BYTES) });
    const hello = Buffer.alloc(1_000);
    const connects = (n: number) =>
      once(`127.1.0.${1 + (n % 5)}`, async (client) => {
        const reply = client.connect('127.0.0.1', port);
        client.socket.write(hello);
        return (await reply) === 0;
      });
    const calm = await undisturbed(50, 75, connects);
    const attack = await startFlood({
      kind: 'connect',
      proxyPort: site.port,
      lanes: 200,
      limit: 1_000,
      payloadBytes: 64 * 1024,
      hosts: ['127.0.3.1'],
      port: silent.port,
    });
    await attack.reached(150);
    const early = () => metricOf(site, 'sockscope_proxy_early_payload_bytes');
    // All of the limit is used, and at most one read above it.
    await expect.poll(early).toBeGreaterThan(EARLY_BYTES / 2);
    const attacked = await steady(50, 200, connects);
    expect(await early()).toBeLessThanOrEqual(EARLY_BYTES + READ_BYTES);
    expect(await attack.stop()).toBeGreaterThanOrEqual(150);
    expectUndisturbed(attacked, calm);
  });

  it('of refused requests from one network while Kafka is away, the spool keeps room for 40 sessions a second', async () => {
    await start({ PROXY_SPOOL_MAX: String(1_280 * 1024) });
    const connects = (n: number) => connected(`127.1.0.${1 + (n % 5)}`, '127.0.0.1');
    const calm = await undisturbed(40, 60, connects);
    // More than the spool holds.
    const attack = await startFlood({
      kind: 'connect',
      proxyPort: site.port,
      lanes: 500,
      limit: 4_000,
      isOneNetwork: true,
      hosts: ['10.0.0.1'],
      port,
    });
    await attack.reached(500);
    const attacked = await steady(40, 240, connects);
    expect(await attack.stop()).toBeGreaterThanOrEqual(500);
    expect(await metricOf(site, 'sockscope_proxy_limit_refusals_total')).toBeGreaterThan(100);
    expectUndisturbed(attacked, calm);
  });
});
