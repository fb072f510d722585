/** Several workers on one port: guarantees of one proxy must hold for all of them together. */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { SessionEvent, SessionStarted } from '@sockscope/schemas';
import { SocksClient } from 'socks';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { metric } from '../support/api.js';
import { startEchoServer } from '../support/counting-server.js';
import type { CountingServer } from '../support/counting-server.js';
import { startEventLog } from '../support/event-log.js';
import type { EventLog } from '../support/event-log.js';
import { createProxySite, startProxy } from '../support/proxy-process.js';
import type { ProxySite } from '../support/proxy-process.js';
import type { ServiceProcess } from '../support/service-process.js';

const WORKERS = 3;
const PER_SOURCE = 24;
const WAIT = { timeout: 60_000, interval: 50 };

describe('three workers', () => {
  let log: EventLog;
  let site: ProxySite;
  let proxy: ServiceProcess;
  let echo: CountingServer;
  const open: Socket[] = [];

  beforeAll(async () => {
    [log, echo] = await Promise.all([startEventLog(), startEchoServer()]);
    site = await createProxySite(log.kafka, {
      ...log.env,
      PROXY_WORKERS: String(WORKERS),
      PROXY_MAX_SESSIONS_PER_SOURCE: String(PER_SOURCE),
      PROXY_DRAIN_TIMEOUT: '200ms',
    });
    proxy = await startProxy(site);
  });
  afterAll(async () => {
    for (const socket of open) socket.destroy();
    if (isAlive(proxy.pid)) await proxy.stop();
    await echo.stop();
    await site.remove();
    await log.stop();
  });

  async function connectThrough(): Promise<Socket> {
    const { socket } = await SocksClient.createConnection({
      command: 'connect',
      proxy: { host: '127.0.0.1', port: site.port, type: 5 },
      destination: { host: '127.0.0.1', port: echo.port },
    });
    socket.on('error', () => undefined);
    open.push(socket);
    return socket;
  }

  /** A session that has moved bytes, so that there is something to count. */
  async function openSession(bytes: number): Promise<Socket> {
    const socket = await connectThrough();
    let received = 0;
    await new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        received += chunk.length;
        if (received === bytes) resolve();
      });
      socket.write(Buffer.alloc(bytes, 0x78));
      socket.resume();
    });
    return socket;
  }

  /** The open connections of the clients, by their own ports: the other side's view of stillOpen. */
  const clientPorts = (): Set<number | undefined> =>
    new Set(open.filter((socket) => !socket.destroyed).map((socket) => socket.localPort));

  /** Sessions that have begun and not ended, by the events. */
  function stillOpen(): SessionStarted[] {
    const ended = new Set(log.closed().map(sessionId));
    return log.started().filter((event) => !ended.has(event.session_id));
  }

  const workerPids = (): number[] =>
    execFileSync('ps', ['-o', 'pid=', '--ppid', String(proxy.pid)])
      .toString()
      .trim()
      .split(/\s+/)
      .map(Number);

  test('take connections in turn, each under a proxy_id of its own', async () => {
    // Ready is when one worker is.
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_workers', { state: 'ready' })).toBe(WORKERS);
    }, WAIT);
    for (let i = 0; i < 12; i += 1) {
      await openSession(100);
    }
    await vi.waitFor(() => {
      expect(log.started()).toHaveLength(12);
    }, WAIT);
    for (const id of ['test-w1', 'test-w2', 'test-w3']) {
      expect(log.started().filter((event) => event.proxy_id === id)).toHaveLength(12 / WORKERS);
    }
  });

  test('hold a limit together', async () => {
    while (open.length < PER_SOURCE) {
      await openSession(100);
    }
    // The others learn the counts of one worker a moment later.
    await vi.waitFor(async () => {
      for (let i = 0; i < 2 * WORKERS; i += 1) {
        const refused = await connectThrough().then(
          () => '',
          (error: unknown) => String(error),
        );
        if (refused === '') open.pop()?.destroy();
        expect(refused).toContain('NotAllowed');
      }
    }, WAIT);
    open.pop()?.destroy();
    await vi.waitFor(() => openSession(100), WAIT);
    expect(open).toHaveLength(PER_SOURCE);
  });

  test('are one set of metrics and one health', async () => {
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_sessions_active')).toBe(PER_SOURCE);
    }, WAIT);
    expect(await metric(site.ops, 'sockscope_proxy_workers', { state: 'ready' })).toBe(WORKERS);
    expect(await (await fetch(`${site.ops}/readyz`)).json()).toMatchObject({
      ok: true,
      checks: { workers: { detail: '3 of 3 workers' } },
    });
  });

  test('replace one that was killed, which closes its sessions as crashed and no others', async () => {
    const startedBefore = await metric(site.ops, 'sockscope_proxy_sessions_started_total');
    // Events come a moment after the session's change: a session that ended just now may still be
    // among them, and one that began just now may not.
    const openBefore = await vi.waitFor(() => {
      const found = stillOpen();
      expect(new Set(found.map((event) => event.source_port))).toEqual(clientPorts());
      expect(found).toHaveLength(PER_SOURCE);
      return found;
    }, WAIT);
    // Counts that were read are kept for a crash.
    await vi.waitFor(() => {
      const read = log.events.filter((event) => event.bytes_received === 100).map(sessionId);
      for (const event of openBefore) expect(read).toContain(event.session_id);
    }, WAIT);
    const [victim = 0] = workerPids();
    process.kill(victim, 'SIGKILL');
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_workers', { state: 'ready' })).toBe(WORKERS);
      expect(await metric(site.ops, 'sockscope_proxy_worker_restarts_total')).toBe(1);
    }, WAIT);
    const crashed = await vi.waitFor(() => {
      const found = log.closed().filter((event) => event.close_reason === 'proxy_crashed');
      const id = found[0]?.proxy_id;
      const lost = openBefore.filter((event) => event.proxy_id === id);
      expect(lost.length).toBeGreaterThan(0);
      expect(found.map(sessionId).toSorted(byText)).toEqual(lost.map(sessionId).toSorted(byText));
      return found;
    }, WAIT);
    for (const event of crashed) {
      expect(event).toMatchObject({ status: 'failed', bytes_sent: 100, bytes_received: 100 });
    }
    expect(stillOpen()).toHaveLength(PER_SOURCE - crashed.length);
    // The sum of a counter must not fall because a worker is gone.
    expect(await metric(site.ops, 'sockscope_proxy_sessions_started_total')).toBeGreaterThanOrEqual(
      startedBefore,
    );

    // The dead worker's places are free again.
    for (let i = 0; i < crashed.length; i += 1) {
      await vi.waitFor(() => openSession(100), WAIT);
    }
    expect(new Set(workerPids()).has(victim)).toBe(false);
  });

  test('all close the sessions that a changed ACL forbids', async () => {
    await vi.waitFor(() => {
      expect(stillOpen()).toHaveLength(PER_SOURCE);
    }, WAIT);
    const known = log.closed().length;
    await writeFile(site.aclFile, 'default: block\n');
    await vi.waitFor(() => {
      const revoked = log.closed().slice(known);
      expect(revoked).toHaveLength(PER_SOURCE);
      for (const event of revoked) expect(event.close_reason).toBe('acl_revoked');
    }, WAIT);
    await writeFile(
      site.aclFile,
      'default: block\nrules: [{ name: all, action: allow, destinations: [127.0.0.0/8] }]\n',
    );
    // Each worker reads the file by itself, so some allow it before others do.
    await vi.waitFor(async () => {
      const opened: Socket[] = [];
      try {
        for (let i = 0; i < WORKERS; i += 1) {
          opened.push(await openSession(100));
        }
      } catch (error) {
        // They would fill the limit before the last worker has read it.
        for (const socket of opened) socket.destroy();
        throw error;
      }
    }, WAIT);
  });

  test('stop together, and leave no process and no open session', async () => {
    const workers = workerPids();
    expect(workers).toHaveLength(WORKERS);
    expect(await proxy.stop()).toBe(0);
    expect(workers.filter(isAlive)).toEqual([]);
    await vi.waitFor(() => {
      expect(stillOpen()).toEqual([]);
      expect(log.closed().some((event) => event.close_reason === 'server_shutdown')).toBe(true);
    }, WAIT);
  });

  test('end with their primary although one of them hangs', async () => {
    proxy = await startProxy(site, { PROXY_SHUTDOWN_DEADLINE: '2s' });
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_workers', { state: 'ready' })).toBe(WORKERS);
    }, WAIT);
    const workers = workerPids();
    const [hung = 0] = workers;
    process.kill(hung, 'SIGSTOP');
    try {
      expect(await proxy.stop()).toBe(1);
      await vi.waitFor(() => {
        expect(workers.filter(isAlive)).toEqual([]);
      }, WAIT);
    } finally {
      if (isAlive(hung)) process.kill(hung, 'SIGKILL');
    }
  });
});

function sessionId(event: SessionEvent): string {
  return event.session_id;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
