import { connect } from 'node:net';
import type { Socket } from 'node:net';
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
    config: { ...options.config, bind: { enabled: true, ...options.config?.bind } },
  });
  cleanups.push(() => made.stop());
  return made;
}

interface Bound {
  readonly client: TestClient;
  readonly ip: string;
  readonly port: number;
}

/** A client whose BIND got its first reply. */
async function bind(proxy: Harness, peer = '127.0.0.1', peerPort = 0): Promise<Bound> {
  const client = await TestClient.connect(proxy.address);
  cleanups.push(() => {
    client.destroy();
  });
  client.send(GREETING, requestFor(peer, peerPort, 2));
  const reply = (await client.read(12)).subarray(2);
  expect([...reply.subarray(0, 4)]).toEqual([5, 0, 0, 1]);
  return { client, ip: [...reply.subarray(4, 8)].join('.'), port: reply.readUInt16BE(8) };
}

function peerFrom(localAddress: string, { ip, port }: Bound): Socket {
  const socket = connect({ host: ip, port, localAddress, allowHalfOpen: true });
  socket.on('error', () => undefined);
  cleanups.push(() => {
    socket.destroy();
  });
  return socket;
}

describe('BIND', () => {
  it('sends a second reply with the peer, then relays both ways and counts', async () => {
    const proxy = await harness();
    const bound = await bind(proxy);
    expect(bound.ip).toBe('127.0.0.1');
    const peer = peerFrom('127.0.0.1', bound);
    const second = await bound.client.read(10);
    expect([...second.subarray(0, 8)]).toEqual([5, 0, 0, 1, 127, 0, 0, 1]);
    expect(second.readUInt16BE(8)).toBe(peer.localPort);
    peer.write('from the peer');
    expect((await bound.client.read(13)).toString()).toBe('from the peer');
    const received: Buffer[] = [];
    peer.on('data', (chunk: Buffer) => received.push(chunk));
    bound.client.send('hello');
    await waitFor(() => Buffer.concat(received).toString() === 'hello', 'the payload at the peer');
    peer.end();
    await bound.client.readAll();
    bound.client.socket.end();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({
      command: 'bind',
      protocol: 'tcp',
      dest_host: '127.0.0.1',
      dest_ip: '127.0.0.1',
      bytes_sent: 5,
      bytes_received: 13,
      status: 'closed',
      close_reason: 'upstream_eof',
    });
  });

  it('passes on bytes that the client sent before the peer came', async () => {
    const proxy = await harness();
    const bound = await bind(proxy);
    bound.client.send('early');
    const peer = peerFrom('127.0.0.1', bound);
    const received: Buffer[] = [];
    peer.on('data', (chunk: Buffer) => received.push(chunk));
    await waitFor(() => received.length > 0, 'the payload at the peer');
    expect(Buffer.concat(received).toString()).toBe('early');
  });

  it('drops another peer than the announced one, and continues to wait', async () => {
    const proxy = await harness();
    const bound = await bind(proxy, '127.0.0.1');
    const wrong = peerFrom('127.0.0.2', bound);
    wrong.resume();
    await waitFor(() => wrong.readableEnded || wrong.destroyed, 'the wrong peer to be dropped');
    const right = peerFrom('127.0.0.1', bound);
    expect((await bound.client.read(10))[1]).toBe(0);
    expect(right.destroyed).toBe(false);
  });

  it.each(['0.0.0.0', '::'])('takes any peer if %s is announced', async (announced) => {
    const proxy = await harness();
    const bound = await bind(proxy, announced);
    peerFrom('127.0.0.3', bound);
    const second = await bound.client.read(10);
    expect([...second.subarray(4, 8)]).toEqual([127, 0, 0, 3]);
    expect(proxy.started()[0]).toMatchObject({ dest_host: announced });
  });

  it('takes a peer by its name', async () => {
    const dns = await startDnsServer();
    cleanups.push(() => dns.stop());
    dns.set('peer.test', { addresses: ['127.0.0.5', '127.0.0.4'] });
    const proxy = await harness({
      config: { dns: { servers: [dns.address], family: 'ipv4' } },
    });
    const bound = await bind(proxy, 'peer.test');
    peerFrom('127.0.0.4', bound);
    expect((await bound.client.read(10))[1]).toBe(0);
  });

  it('asks the ACL about the peer that came', async () => {
    const proxy = await harness({
      config: { bind: { timeout_ms: 2_000 } },
      decide: ({ dest_ip }) =>
        dest_ip === '127.0.0.9'
          ? { decision: 'block', rule: 'no-9' }
          : { decision: 'allow', rule: 'rest' },
    });
    const bound = await bind(proxy, '0.0.0.0');
    peerFrom('127.0.0.9', bound);
    expect((await bound.client.readAll()).toString('hex')).toBe('05020001000000000000');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ status: 'failed', close_reason: 'bind_peer_rejected' });
  });

  it('asks the ACL about a peer that was announced by name with the name and the address', async () => {
    const dns = await startDnsServer();
    cleanups.push(() => dns.stop());
    dns.set('peer.example', { addresses: ['127.0.0.4'] });
    const proxy = await harness({
      config: { dns: { servers: [dns.address], family: 'ipv4' } },
      decide: ({ dest_host }) =>
        dest_host === 'peer.example'
          ? { decision: 'allow', rule: 'peers' }
          : { decision: 'block', rule: null },
    });
    const bound = await bind(proxy, 'peer.example');
    const peer = peerFrom('127.0.0.4', bound);
    expect((await bound.client.read(10))[1]).toBe(0);
    peer.destroy();
    bound.client.destroy();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({
      dest_host: 'peer.example',
      dest_ip: '127.0.0.4',
      acl_rule_matched: 'peers',
    });
  });

  it('sends a failure as its second reply when nobody comes in time', async () => {
    const proxy = await harness({ config: { bind: { timeout_ms: 100 } } });
    const bound = await bind(proxy);
    expect((await bound.client.readAll()).toString('hex')).toBe('05040001000000000000');
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ status: 'failed', close_reason: 'bind_timeout' });
    bound.client.destroy();
    await proxy.idle();
    await expectClosed(bound);
  });

  it('closes its port when the client leaves', async () => {
    const proxy = await harness();
    const bound = await bind(proxy);
    bound.client.socket.resetAndDestroy();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ status: 'failed', close_reason: 'client_aborted' });
    await expectClosed(bound);
  });

  it('closes its port when the session is revoked', async () => {
    let isBlocked = false;
    const proxy = await harness({
      decide: () => ({ decision: isBlocked ? 'block' : 'allow', rule: null }),
    });
    const bound = await bind(proxy);
    isBlocked = true;
    proxy.changed();
    expect((await bound.client.readAll()).toString('hex')).toBe('05020001000000000000');
    expect(proxy.closed()[0]).toMatchObject({ close_reason: 'acl_revoked' });
    await expectClosed(bound);
  });

  it.each([
    ['any peer', '0.0.0.0', '127.0.0.4'],
    ['any peer of IPv6', '::', '127.0.0.4'],
    ['a peer by its address', '127.0.0.4', '127.0.0.4'],
    ['a peer by its name', 'peer.test', 'peer.test'],
  ])(
    'continues through a reload with %s that has come, until a rule blocks it',
    async (_what, announced, blocking) => {
      const dns = await startDnsServer();
      cleanups.push(() => dns.stop());
      dns.set('peer.test', { addresses: ['127.0.0.4'] });
      let decide = loopbackRules();
      const proxy = await harness({
        config: { dns: { servers: [dns.address], family: 'ipv4' } },
        decide: (request) => decide(request),
      });
      const bound = await bind(proxy, announced);
      const peer = peerFrom('127.0.0.4', bound);
      expect((await bound.client.read(10))[1]).toBe(0);
      proxy.changed();
      await turn();
      decide = loopbackRules({ destinations: ['127.0.0.5'] });
      proxy.changed();
      await turn();
      peer.write('still here');
      expect((await bound.client.read(10)).toString()).toBe('still here');
      decide = loopbackRules({ destinations: [blocking] });
      proxy.changed();
      const [closed] = await proxy.waitClosed();
      expect(closed).toMatchObject({ dest_ip: '127.0.0.4', close_reason: 'acl_revoked' });
    },
  );

  it('asks about a peer that has come with its own port, not the announced one', async () => {
    let decide = loopbackRules();
    const proxy = await harness({ decide: (request) => decide(request) });
    const bound = await bind(proxy, '127.0.0.1', 20);
    const peer = peerFrom('127.0.0.1', bound);
    expect((await bound.client.read(10))[1]).toBe(0);
    decide = loopbackRules({ ports: [20] });
    proxy.changed();
    await turn();
    peer.write('still here');
    expect((await bound.client.read(10)).toString()).toBe('still here');
    decide = loopbackRules({ ports: [peer.localPort ?? 0] });
    proxy.changed();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ dest_port: 20, close_reason: 'acl_revoked' });
  });

  it('continues to wait through a reload after a peer was blocked', async () => {
    const decide = loopbackRules({ destinations: ['127.0.0.9'] });
    const proxy = await harness({ decide });
    const bound = await bind(proxy, '0.0.0.0');
    const blocked = peerFrom('127.0.0.9', bound);
    blocked.resume();
    await waitFor(() => blocked.readableEnded || blocked.destroyed, 'the peer to be dropped');
    proxy.changed();
    await turn();
    peerFrom('127.0.0.4', bound);
    expect((await bound.client.read(10))[1]).toBe(0);
  });

  it('waits on the configured address and ports, and replies with the configured address', async () => {
    const probe = await harness();
    const { port } = await bind(probe);
    await probe.stop();
    const proxy = await harness({
      config: {
        bind: {
          listen_ip: '127.0.0.1',
          advertised_ip: '203.0.113.5',
          ports: { first: port, last: port },
        },
      },
    });
    const bound = await bind(proxy);
    expect(bound).toMatchObject({ ip: '203.0.113.5', port });
    const second = await TestClient.connect(proxy.address);
    cleanups.push(() => {
      second.destroy();
    });
    second.send(GREETING, requestFor('127.0.0.1', 0, 2));
    expect((await second.readAll()).toString('hex')).toBe('050005010001000000000000');
    expect(proxy.closed()[0]).toMatchObject({
      status: 'failed',
      close_reason: 'connect_failed',
      error_code: 'EADDRINUSE',
    });
  });

  it('is refused by the ACL before a port is opened', async () => {
    const proxy = await harness({ decide: () => ({ decision: 'block', rule: 'no-bind' }) });
    const client = await TestClient.connect(proxy.address);
    client.send(GREETING, requestFor('127.0.0.1', 0, 2));
    expect((await client.readAll()).toString('hex')).toBe(
      bytesOf(5, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0).toString('hex'),
    );
    client.destroy();
    expect(proxy.closed()[0]).toMatchObject({ acl_rule_matched: 'no-bind', command: 'bind' });
  });
});

async function expectClosed({ ip, port }: Bound): Promise<void> {
  await expect(TestClient.connect({ host: ip, port })).rejects.toThrow(/ECONNREFUSED/);
}
