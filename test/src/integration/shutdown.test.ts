/** A stop of the real proxy, as an operator or an orchestrator asks for it. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { SocksClient } from 'socks';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startBalancer } from '../support/balancer.js';
import { startEchoServer } from '../support/counting-server.js';
import type { CountingServer } from '../support/counting-server.js';
import { startEventLog } from '../support/event-log.js';
import type { EventLog } from '../support/event-log.js';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import type { ProxySite } from '../support/proxy-process.js';

const WAIT = { timeout: 60_000, interval: 50 };

describe('SIGTERM', () => {
  let log: EventLog;
  let echo: CountingServer;
  const sites: ProxySite[] = [];
  const sockets: Socket[] = [];

  beforeAll(async () => {
    [log, echo] = await Promise.all([startEventLog(), startEchoServer()]);
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await Promise.all(sites.splice(0).map((site) => site.remove()));
  });
  afterAll(async () => {
    await echo.stop();
    await log.stop();
  });

  async function siteOf(id: string, env: Readonly<Record<string, string>>): Promise<ProxySite> {
    const site = await createProxySite(log.kafka, {
      ...log.env,
      PROXY_ID: id,
      ...env,
    });
    sites.push(site);
    return site;
  }

  /** A session that has echoed `bytes` bytes and stays open. */
  async function openSession(site: Pick<ProxySite, 'port'>, bytes: number): Promise<Socket> {
    const { socket } = await SocksClient.createConnection({
      command: 'connect',
      proxy: { host: '127.0.0.1', port: site.port, type: 5 },
      destination: { host: '127.0.0.1', port: echo.port },
    });
    sockets.push(socket);
    socket.on('error', () => undefined);
    let received = 0;
    const echoed = new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received === bytes) resolve();
      });
    });
    socket.resume();
    socket.write(Buffer.alloc(bytes));
    await echoed;
    return socket;
  }

  const endOf = (id: string) =>
    log.waitForClosed(`the end of the session of ${id}`, (event) => event.proxy_id === id);

  test('lets a session end by itself within the drain time', async () => {
    const site = await siteOf('drained', { PROXY_DRAIN_TIMEOUT: '20s' });
    const proxy = await startProxy(site);
    const socket = await openSession(site, 1_000);
    const stopped = proxy.stop();
    await vi.waitFor(() => {
      expect(proxy.log.join('\n')).toContain('waiting for sessions to end');
    }, 60_000);
    const refused = connect(site.port, '127.0.0.1');
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
    socket.end();
    expect(await stopped).toBe(0);
    expect(await endOf('drained')).toMatchObject({
      close_reason: 'client_eof',
      bytes_sent: 1_000,
      bytes_received: 1_000,
    });
  });

  test('ends the remaining sessions as server_shutdown with exact counts, and everything is in Kafka', async () => {
    const site = await siteOf('cut-off', { PROXY_DRAIN_TIMEOUT: '200ms' });
    const proxy = await startProxy(site);
    await openSession(site, 123_456);
    const startedMs = performance.now();
    expect(await proxy.stop()).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    expect(await endOf('cut-off')).toMatchObject({
      status: 'closed',
      close_reason: 'server_shutdown',
      bytes_sent: 123_456,
      bytes_received: 123_456,
    });
  });

  test('of one proxy after the other behind a balancer refuses nobody and cuts no session that ends in time', async () => {
    const pair = [
      await siteOf('rolled-a', { PROXY_DRAIN_TIMEOUT: '60s', PROXY_SHUTDOWN_DEADLINE: '90s' }),
      await siteOf('rolled-b', { PROXY_DRAIN_TIMEOUT: '60s', PROXY_SHUTDOWN_DEADLINE: '90s' }),
    ];
    const running = await Promise.all(pair.map((site) => startProxy(site)));
    const balancer = await startBalancer(pair.map(({ port }) => port));
    const lasting = await Promise.all(pair.map((site) => openSession(site, 1_000)));
    let isRolling = true;
    let short = 0;
    const failures: string[] = [];
    const clients = (async () => {
      while (isRolling) {
        try {
          const socket = await openSession(balancer, 100);
          const closed = once(socket, 'close');
          socket.end();
          await closed;
          short += 1;
        } catch (error) {
          failures.push(String(error));
        }
      }
    })();
    const servedMore = async (count: number): Promise<void> => {
      const before = short;
      await vi.waitFor(() => {
        expect(short).toBeGreaterThanOrEqual(before + count);
      }, WAIT);
    };
    await servedMore(2);
    for (const [index, site] of pair.entries()) {
      const stopped = running[index]?.stop();
      await vi.waitFor(() => {
        expect(running[index]?.log.join('\n')).toContain('waiting for sessions to end');
      }, WAIT);
      await servedMore(3);
      lasting[index]?.end();
      expect(await stopped).toBe(0);
      running[index] = await startProxy(site);
      await servedMore(2);
    }
    isRolling = false;
    await clients;
    await balancer.stop();
    expect(failures).toEqual([]);
    for (const proxy of running) expect(await proxy.stop()).toBe(0);
    await vi.waitFor(() => {
      const ends = log.closed().filter(({ proxy_id: id }) => id.startsWith('rolled-'));
      expect(ends).toHaveLength(short + lasting.length);
      expect(new Set(ends.map((end) => end.session_id)).size).toBe(ends.length);
      expect(new Set(ends.map((end) => end.status))).toEqual(new Set(['closed']));
      expect(ends.filter((end) => end.close_reason === 'server_shutdown')).toEqual([]);
      for (const end of ends) expect([100, 1_000]).toContain(end.bytes_received);
    }, WAIT);
  });

  test('ends the process at the hard deadline, even if sessions still drain', async () => {
    const site = await siteOf('late', {
      PROXY_DRAIN_TIMEOUT: '60s',
      PROXY_SHUTDOWN_DEADLINE: '1s',
    });
    const proxy = await startProxy(site);
    await openSession(site, 10);
    const startedMs = performance.now();
    expect(await proxy.stop()).toBe(1);
    expect(performance.now() - startedMs).toBeGreaterThan(900);
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    expect(proxy.log.join('\n')).toContain('a stop ends before sessions have had their drain time');
    expect(proxy.log.join('\n')).toContain('shutdown deadline passed');
    // The next run finds the session in the journal: nothing is lost by a stop that was cut short.
    const next = await startProxy(site);
    expect(await endOf('late')).toMatchObject({ close_reason: 'proxy_crashed' });
    expect(await next.stop()).toBe(0);
  });
});
