/** Longer than 400 lines: all tests relay datagrams through one association, with one client and one destination. */
import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { startDnsServer } from '../testing/dns-server.js';
import {
  bytesOf,
  GREETING,
  requestFor,
  startHarness,
  TestClient,
  waitFor,
} from '../testing/harness.js';
import type { Harness, HarnessOptions } from '../testing/harness.js';
import { loopbackRules } from '../testing/rules.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) {
    // In order: the last one started may use the first.
    await cleanup();
  }
});

async function harness(options: HarnessOptions = {}): Promise<Harness> {
  const made = await startHarness({
    ...options,
    config: { ...options.config, udp: { enabled: true, ...options.config?.udp } },
  });
  cleanups.push(() => made.stop());
  return made;
}

/**
 * An address that the kernel lets no datagram out to (EACCES: a broadcast was not asked for), as all
 * of IPv6 on a machine without it.
 */
const UNREACHABLE = '255.255.255.255';

interface Datagrams {
  readonly socket: Socket;
  readonly port: number;
  readonly received: { readonly data: Buffer; readonly from: RemoteInfo }[];
}

async function datagrams(ip = '127.0.0.1', port = 0): Promise<Datagrams> {
  const socket = createSocket(isIPv6(ip) ? 'udp6' : 'udp4');
  const received: { data: Buffer; from: RemoteInfo }[] = [];
  socket.on('message', (data, from) => received.push({ data, from }));
  await new Promise<void>((resolve) => {
    socket.bind(port, ip, resolve);
  });
  cleanups.push(() => {
    socket.close();
  });
  return { socket, port: socket.address().port, received };
}

/** A destination that answers each datagram with itself. */
async function echo(ip = '127.0.0.1'): Promise<Datagrams> {
  const made = await datagrams(ip);
  made.socket.on('message', (data, from) => {
    made.socket.send(data, from.port, from.address);
  });
  return made;
}

interface Associated {
  readonly control: TestClient;
  readonly relayPort: number;
  readonly own: Datagrams;
  send(...parts: (number | string | Uint8Array)[]): void;
}

async function associate(
  proxy: Harness,
  options: {
    readonly announce?: (port: number) => Buffer;
    readonly from?: string;
    /** Logs in as this one. */
    readonly user?: string;
  } = {},
): Promise<Associated> {
  const own = await datagrams(options.from ?? '127.0.0.1');
  const control = await TestClient.connect(proxy.address);
  cleanups.push(() => {
    control.destroy();
  });
  const { user } = options;
  if (user === undefined) control.send(GREETING);
  else {
    control.send(5, 1, 2, 1, user.length, user, 1, 'p');
    expect([...(await control.read(2))]).toEqual([5, 2]);
  }
  control.send(options.announce?.(own.port) ?? requestFor('0.0.0.0', 0, 3));
  const reply = (await control.read(12)).subarray(2);
  expect([...reply.subarray(0, 8)]).toEqual([5, 0, 0, 1, 127, 0, 0, 1]);
  const relayPort = reply.readUInt16BE(8);
  return {
    control,
    relayPort,
    own,
    send(...parts) {
      own.socket.send(bytesOf(...parts), relayPort, '127.0.0.1');
    },
  };
}

const to4 = (port: number, last = 1): Buffer =>
  bytesOf(0, 0, 0, 1, 127, 0, 0, last, port >> 8, port & 255);
const toName = (name: string, port: number): Buffer =>
  bytesOf(0, 0, 0, 3, Buffer.byteLength(name), name, port >> 8, port & 255);

const DROPPED = 'sockscope_proxy_udp_datagrams_dropped_total';

async function waitDropped(proxy: Harness, reason: string, count = 1): Promise<void> {
  for (let tries = 0; (await proxy.metric(DROPPED, { reason })) < count; tries += 1) {
    if (tries > 1_000) throw new Error(`not dropped: ${reason}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}

describe('UDP ASSOCIATE', () => {
  it('passes datagrams on and back with the destination as header, and counts them exactly', async () => {
    const proxy = await harness();
    const destination = await echo();
    const a = await associate(proxy);
    for (const text of ['one', 'three', '']) {
      a.send(to4(destination.port), text);
      // One after the other: UDP keeps no order.
      await waitFor(
        () => a.own.received.some(({ data }) => data.subarray(10).toString() === text),
        text,
      );
    }
    expect(a.own.received.map(({ data }) => data.toString('hex'))).toEqual(
      ['one', 'three', ''].map((text) => bytesOf(to4(destination.port), text).toString('hex')),
    );
    a.control.destroy();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({
      protocol: 'udp',
      command: 'udp_associate',
      dest_host: '127.0.0.1',
      dest_ip: '127.0.0.1',
      dest_port: destination.port,
      bytes_sent: 8,
      bytes_received: 8,
      packets_sent: 3,
      packets_received: 3,
      status: 'closed',
      close_reason: 'association_closed',
    });
    expect(await proxy.metric('sockscope_proxy_udp_associations')).toBe(0);
  });

  it('makes one session per destination, in any spelling of its address', async () => {
    const proxy = await harness();
    const [first, second] = await Promise.all([echo(), echo()]);
    const a = await associate(proxy);
    a.send(to4(first.port), 'a');
    a.send(to4(second.port), 'b');
    a.send(to4(first.port), 'c');
    a.send(toName('127.0.0.1', second.port), 'd');
    await waitFor(() => a.own.received.length === 4, 'four answers');
    const ports = proxy.started().map((s) => s.dest_port);
    expect(ports.filter((port) => port === first.port)).toHaveLength(1);
    expect(ports.filter((port) => port === second.port)).toHaveLength(2);
    expect(proxy.tracker.liveCount).toBe(3);
  });

  it('reaches names, and answers with their address', async () => {
    const dns = await startDnsServer();
    cleanups.push(() => dns.stop());
    dns.set('echo.test', { addresses: ['127.0.0.1'], delay_ms: 50 });
    const proxy = await harness({
      config: { dns: { servers: [dns.address], family: 'ipv4' } },
    });
    const destination = await echo();
    const a = await associate(proxy);
    a.send(toName('Echo.Test', destination.port), 'x');
    a.send(toName('Echo.Test', destination.port), 'y');
    await waitFor(() => a.own.received.length === 2, 'two answers');
    expect(a.own.received[0]?.data.subarray(0, 10).equals(to4(destination.port))).toBe(true);
    expect(proxy.started()).toHaveLength(1);
    expect(proxy.started()[0]).toMatchObject({ dest_host: 'echo.test', dest_ip: null });
    a.control.destroy();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ dest_ip: '127.0.0.1', packets_sent: 2, packets_received: 2 });
  });

  it("continues with a name's next address if the first one cannot be reached from here", async () => {
    const dns = await startDnsServer();
    cleanups.push(() => dns.stop());
    dns.set('dual.test', { addresses: [UNREACHABLE, '127.0.0.1'] });
    const proxy = await harness({ config: { dns: { servers: [dns.address] } } });
    const destination = await echo();
    const a = await associate(proxy);
    for (const text of ['a', 'b', 'c']) a.send(toName('dual.test', destination.port), text);
    await waitFor(() => a.own.received.length === 3, 'three answers');
    a.control.destroy();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({
      status: 'closed',
      dest_ip: '127.0.0.1',
      packets_sent: 3,
      packets_received: 3,
    });
  });

  it('asks the rules about each address that it tries next', async () => {
    const dns = await startDnsServer();
    cleanups.push(() => dns.stop());
    dns.set('dual.test', { addresses: [UNREACHABLE, '127.0.0.1'] });
    const proxy = await harness({
      config: { dns: { servers: [dns.address] } },
      decide: ({ dest_ip }) => ({
        decision: dest_ip === '127.0.0.1' ? 'block' : 'allow',
        rule: null,
      }),
    });
    const destination = await echo();
    const a = await associate(proxy);
    a.send(toName('dual.test', destination.port), 'x');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ close_reason: 'connect_failed', error_code: 'EACCES' });
    expect(destination.received).toHaveLength(0);
  });

  it('records a destination that cannot be reached from here as failed', async () => {
    const proxy = await harness();
    const a = await associate(proxy);
    a.send(0, 0, 0, 1, 255, 255, 255, 255, 0, 9, 'x');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({
      status: 'failed',
      close_reason: 'connect_failed',
      error_code: 'EACCES',
      packets_sent: 0,
    });
    await waitDropped(proxy, 'send_failed');
  });

  it('reaches IPv6 destinations', async () => {
    const proxy = await harness();
    const destination = await echo('::1');
    const a = await associate(proxy);
    const header = bytesOf(
      0,
      0,
      0,
      4,
      Buffer.from(`${'00'.repeat(15)}01`, 'hex'),
      destination.port >> 8,
      destination.port & 255,
    );
    a.send(header, 'six');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    expect(a.own.received[0]?.data.equals(bytesOf(header, 'six'))).toBe(true);
  });

  it('takes datagrams from the client alone: its address, and the port that it began with', async () => {
    const proxy = await harness();
    const destination = await echo();
    const a = await associate(proxy);
    const stranger = await datagrams('127.0.0.2');
    stranger.socket.send(bytesOf(to4(destination.port), 'evil'), a.relayPort, '127.0.0.1');
    await waitDropped(proxy, 'not_the_client');
    a.send(to4(destination.port), 'good');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    const neighbour = await datagrams('127.0.0.1');
    neighbour.socket.send(bytesOf(to4(destination.port), 'evil'), a.relayPort, '127.0.0.1');
    await waitDropped(proxy, 'not_the_client', 2);
    expect(destination.received.map(({ data }) => data.toString())).toEqual(['good']);
  });

  it('holds a client to the port that it announced', async () => {
    const proxy = await harness();
    const destination = await echo();
    const a = await associate(proxy, { announce: (port) => requestFor('127.0.0.1', port, 3) });
    const neighbour = await datagrams('127.0.0.1');
    neighbour.socket.send(bytesOf(to4(destination.port), 'evil'), a.relayPort, '127.0.0.1');
    await waitDropped(proxy, 'not_the_client');
    a.send(to4(destination.port), 'good');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    expect(destination.received.map(({ data }) => data.toString())).toEqual(['good']);
  });

  it.each([
    ['a name that is no address, as PySocks does', () => requestFor('0', 0, 3)],
    ['an address before a NAT', () => requestFor('192.168.1.2', 999, 3)],
  ])('lets a client announce %s', async (_, announce) => {
    const proxy = await harness();
    const destination = await echo();
    const a = await associate(proxy, { announce });
    a.send(to4(destination.port), 'x');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    expect(destination.received).toHaveLength(1);
  });

  it('takes answers only from destinations of the client', async () => {
    const proxy = await harness();
    const destination = await echo();
    const a = await associate(proxy);
    a.send(to4(destination.port), 'x');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    const outer = destination.received[0]?.from.port ?? 0;
    const stranger = await datagrams();
    stranger.socket.send('unasked', outer, '127.0.0.1');
    await waitDropped(proxy, 'unknown_source');
    expect(a.own.received).toHaveLength(1);
  });

  it.each([
    ['fragment', bytesOf(0, 0, 1, 1, 127, 0, 0, 1, 0, 9, 'x')],
    ['malformed', bytesOf(0, 0, 0)],
    ['malformed', bytesOf(0, 0, 0, 1, 127, 0)],
    ['malformed', bytesOf(0, 0, 0, 9, 1, 2, 3, 4, 5, 6)],
    ['malformed', Buffer.alloc(0)],
    ['send_failed', bytesOf(0, 0, 0, 1, 127, 0, 0, 1, 0, 0, 'port 0')],
  ])('drops and counts: %s', async (reason, datagram) => {
    const proxy = await harness();
    const a = await associate(proxy);
    a.send(datagram);
    await waitDropped(proxy, reason);
    expect(proxy.tracker.liveCount).toBe(reason === 'send_failed' ? 1 : 0);
  });

  it('records a blocked destination once, and lets nothing through to it', async () => {
    const destination = await echo();
    const proxy = await harness({
      decide: ({ dest_port }) =>
        dest_port === destination.port
          ? { decision: 'block', rule: 'no-echo' }
          : { decision: 'allow', rule: null },
    });
    const a = await associate(proxy);
    for (let i = 0; i < 3; i += 1) a.send(to4(destination.port), 'x');
    await waitDropped(proxy, 'refused_destination', 3);
    expect(proxy.closed()).toHaveLength(1);
    expect(proxy.closed()[0]).toMatchObject({
      status: 'rejected_by_acl',
      acl_rule_matched: 'no-echo',
      protocol: 'udp',
    });
    expect(destination.received).toHaveLength(0);
  });

  it('records a name that cannot be resolved', async () => {
    const dns = await startDnsServer();
    cleanups.push(() => dns.stop());
    const proxy = await harness({ config: { dns: { servers: [dns.address] } } });
    const a = await associate(proxy);
    a.send(toName('gone.test', 53), 'x');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ close_reason: 'dns_failed', error_code: 'ENOTFOUND' });
    await waitDropped(proxy, 'refused_destination');
  });

  it('keeps to its number of destinations', async () => {
    const proxy = await harness({ config: { udp: { max_destinations: 2 } } });
    const destinations = await Promise.all([echo(), echo(), echo()]);
    const a = await associate(proxy);
    for (const { port } of destinations) a.send(to4(port), 'x');
    await waitDropped(proxy, 'max_destinations');
    expect(proxy.started()).toHaveLength(2);
  });

  it('counts associations and destinations as sessions for the limits', async () => {
    const proxy = await harness({
      config: { limits: { max_sessions: 2, max_sessions_per_source: 0 } },
    });
    const destinations = await Promise.all([echo(), echo()]);
    const a = await associate(proxy);
    a.send(to4(destinations[0]?.port ?? 0), 'x');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    a.send(to4(destinations[1]?.port ?? 0), 'x');
    await waitDropped(proxy, 'refused_destination');
    expect(proxy.closed()[0]).toMatchObject({ close_reason: 'limit_exceeded' });
    a.control.destroy();
    await proxy.idle();
    const again = await associate(proxy);
    again.send(to4(destinations[0]?.port ?? 0), 'x');
    await waitFor(() => again.own.received.length === 1, 'an answer');
  });

  it('records a request that a limit refuses', async () => {
    const proxy = await harness({ config: { limits: { max_sessions: 1 } } });
    await associate(proxy);
    const second = await TestClient.connect(proxy.address);
    cleanups.push(() => {
      second.destroy();
    });
    second.send(GREETING, requestFor('0.0.0.0', 0, 3));
    expect((await second.readAll()).toString('hex')).toBe('050005020001000000000000');
    expect(proxy.closed()).toHaveLength(1);
    expect(proxy.closed()[0]).toMatchObject({
      command: 'udp_associate',
      status: 'failed',
      close_reason: 'limit_exceeded',
      error_code: 'max_sessions',
    });
    expect(
      await proxy.metric('sockscope_proxy_limit_refusals_total', { limit: 'max_sessions' }),
    ).toBe(1);
  });

  it('ends the session of an idle destination, and begins a new one with the next datagram', async () => {
    const proxy = await harness({ config: { udp: { idle_timeout_ms: 150 } } });
    const destination = await echo();
    const a = await associate(proxy);
    a.send(to4(destination.port), 'x');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ close_reason: 'idle_timeout', packets_sent: 1 });
    a.send(to4(destination.port), 'y');
    await waitFor(() => proxy.started().length === 2, 'a second session');
    expect(proxy.tracker.liveCount).toBe(1);
  });

  it('ends the session of a destination that continues to send to a client which is silent', async () => {
    const proxy = await harness({ config: { udp: { idle_timeout_ms: 1_500 } } });
    const destination = await datagrams();
    const a = await associate(proxy);
    a.send(to4(destination.port), 'x');
    await waitFor(() => destination.received.length === 1, 'the datagram');
    const from = destination.received[0]?.from;
    const talk = setInterval(() => {
      destination.socket.send('more', from?.port ?? 0, '127.0.0.1');
    }, 20);
    cleanups.push(() => {
      clearInterval(talk);
    });
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ close_reason: 'idle_timeout', packets_sent: 1 });
    expect(closed?.packets_received).toBeGreaterThan(0);
  });

  it.runIf(process.platform === 'linux')(
    'lets the kernel notice that the client of an association has vanished',
    async () => {
      const proxy = await harness({ config: { keepalive_ms: 60_000 } });
      const a = await associate(proxy);
      const { localPort = 0 } = a.control.socket;
      const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, '0');
      const ends = `:${hex(proxy.address.port)} [0-9A-F]+:${hex(localPort)} `;
      // Local end, remote end, state, queues, then the timer that runs: 02 is keepalive (proc_net_tcp.rst).
      const timer = new RegExp(`${ends}01 [0-9A-F]+:[0-9A-F]+ ([0-9]{2}):`);
      const found = timer.exec(await readFile('/proc/net/tcp', 'utf8'));
      expect(found?.[1]).toBe('02');
    },
  );

  it('ends an association that has no destination', async () => {
    const proxy = await harness({ config: { udp: { association_idle_timeout_ms: 100 } } });
    const a = await associate(proxy);
    await a.control.waitClosed();
    expect(await proxy.metric('sockscope_proxy_udp_associations')).toBe(0);
  });

  it('keeps a session whose address was spelt oddly when nothing forbids it', async () => {
    const destination = await echo();
    const proxy = await harness({ decide: loopbackRules() });
    const a = await associate(proxy);
    a.send(toName('１２７.０.０.１', destination.port), 'x');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    proxy.changed();
    await turn();
    expect(proxy.closed()).toEqual([]);
  });

  it('ends the sessions that a changed ACL forbids', async () => {
    const destination = await echo();
    let isBlocked = false;
    const proxy = await harness({
      decide: () => ({ decision: isBlocked ? 'block' : 'allow', rule: null }),
    });
    const a = await associate(proxy);
    a.send(to4(destination.port), 'x');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    isBlocked = true;
    proxy.changed();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ close_reason: 'acl_revoked' });
    a.send(to4(destination.port), 'y');
    await waitDropped(proxy, 'refused_destination');
    expect(destination.received).toHaveLength(1);
  });

  it.each([
    [
      'removed',
      (proxy: Harness) => {
        proxy.removeUser('alice');
      },
    ],
    [
      'put into other groups',
      (proxy: Harness) => {
        proxy.setGroups('alice', []);
      },
    ],
  ])('opens no further session for a user who was %s', async (what, change) => {
    const destinations = await Promise.all([echo(), echo()]);
    const [first, second] = destinations.map(({ port }) => port);
    const proxy = await harness({
      config: { auth_policy: 'password' },
      users: ['alice'],
      verify: (user) => Promise.resolve({ ok: true, user }),
      decide: ({ groups }) => ({
        decision: groups.includes('udp') ? 'allow' : 'block',
        rule: null,
      }),
    });
    proxy.setGroups('alice', ['udp']);
    const a = await associate(proxy, { user: 'alice' });
    a.send(to4(first ?? 0), 'x');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    change(proxy);
    await proxy.waitClosed();
    a.send(to4(second ?? 0), 'y');
    const closed = await proxy.waitClosed(2);
    expect(closed.map((event) => [event.dest_port, event.close_reason])).toEqual([
      [first, 'acl_revoked'],
      [second, 'acl_rejected'],
    ]);
    expect(destinations[1]?.received).toHaveLength(0);
    if (what !== 'removed') return;
    await a.control.waitClosed();
    expect(await proxy.metric('sockscope_proxy_udp_associations')).toBe(0);
  });

  it('ends with server_shutdown when the proxy stops', async () => {
    const destination = await echo();
    const proxy = await harness();
    const a = await associate(proxy);
    a.send(to4(destination.port), 'x');
    await waitFor(() => a.own.received.length === 1, 'an answer');
    await proxy.server.stop();
    expect(proxy.closed()[0]).toMatchObject({ close_reason: 'server_shutdown' });
    await a.control.waitClosed();
  });

  it('is refused if the ACL leaves no destination to the client', async () => {
    const proxy = await harness({ decide: () => ({ decision: 'block', rule: 'no-udp' }) });
    const control = await TestClient.connect(proxy.address);
    control.send(GREETING, requestFor('0.0.0.0', 0, 3));
    expect((await control.readAll()).toString('hex')).toBe('050005020001000000000000');
    control.destroy();
    expect(proxy.closed()[0]).toMatchObject({
      status: 'rejected_by_acl',
      command: 'udp_associate',
      protocol: 'udp',
      acl_rule_matched: 'no-udp',
    });
  });

  it('replies with the configured address and listens on the configured ports', async () => {
    const probe = await datagrams();
    const { port } = probe;
    probe.socket.close();
    cleanups.pop();
    const proxy = await harness({
      config: { udp: { advertised_ip: '203.0.113.5', ports: { first: port, last: port } } },
    });
    const control = await TestClient.connect(proxy.address);
    cleanups.push(() => {
      control.destroy();
    });
    control.send(GREETING, requestFor('0.0.0.0', 0, 3));
    expect((await control.read(12)).subarray(2).toString('hex')).toBe(
      bytesOf(5, 0, 0, 1, 203, 0, 113, 5, port >> 8, port & 255).toString('hex'),
    );
    const second = await TestClient.connect(proxy.address);
    cleanups.push(() => {
      second.destroy();
    });
    second.send(GREETING, requestFor('0.0.0.0', 0, 3));
    expect((await second.readAll()).toString('hex')).toBe('050005010001000000000000');
    expect(await proxy.metric('sockscope_proxy_udp_associations')).toBe(1);
  });
});
