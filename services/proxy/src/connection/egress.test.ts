/** `egress_ip` and `egress_port` are the address that the destination sees, for every command. */
import { createSocket } from 'node:dgram';
import type { RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import {
  bytesOf,
  GREETING,
  requestFor,
  startHarness,
  startServer,
  TestClient,
} from '../testing/harness.js';
import type { Harness } from '../testing/harness.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function harness(): Promise<Harness> {
  const proxy = await startHarness({
    config: { bind: { enabled: true }, udp: { enabled: true } },
  });
  cleanups.push(() => proxy.stop());
  return proxy;
}

/** A client that has asked for something. */
async function request(proxy: Harness, ...what: Parameters<typeof requestFor>) {
  const client = await TestClient.connect(proxy.address);
  cleanups.push(() => {
    client.destroy();
  });
  client.send(GREETING, requestFor(...what));
  await client.read(2);
  return client;
}

const UNKNOWN = { egress_ip: null, egress_port: null };

describe('the egress of a session', () => {
  it('is the local end of the connection to the destination for CONNECT, and null before it', async () => {
    const proxy = await harness();
    const seen: unknown[] = [];
    const server = await startServer((socket) => {
      seen.push({ egress_ip: socket.remoteAddress, egress_port: socket.remotePort });
      socket.end();
    });
    cleanups.push(() => server.stop());
    const client = await request(proxy, '127.0.0.1', server.port);
    await client.read(10);
    client.socket.end();
    const [closed] = await proxy.waitClosed();
    expect(proxy.started()[0]).toMatchObject(UNKNOWN);
    expect(seen).toHaveLength(1);
    expect(closed).toMatchObject(seen[0] as object);
  });

  it('stays null if the destination was not reached', async () => {
    const proxy = await harness();
    const server = await startServer(() => undefined);
    await server.stop();
    await request(proxy, '127.0.0.1', server.port);
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({ close_reason: 'connect_failed', ...UNKNOWN });
  });

  it('is the local end of the accepted connection for BIND', async () => {
    const proxy = await harness();
    const client = await request(proxy, '127.0.0.1', 0, 2);
    const first = await client.read(10);
    const peer = connect({ host: '127.0.0.1', port: first.readUInt16BE(8) });
    cleanups.push(() => {
      peer.destroy();
    });
    await client.read(10);
    const seen = { egress_ip: peer.remoteAddress, egress_port: peer.remotePort };
    peer.end();
    client.socket.end();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject(seen);
  });

  it('is the relaying port and the address that the kernel chose for UDP, never a wildcard', async () => {
    const proxy = await harness();
    const destination = createSocket('udp4');
    destination.bind(0, '127.0.0.66');
    await once(destination, 'listening');
    const own = createSocket('udp4');
    cleanups.push(() => {
      destination.close();
      own.close();
    });
    const client = await request(proxy, '0.0.0.0', 0, 3);
    const reply = await client.read(10);
    const { port } = destination.address();
    const datagram = bytesOf(0, 0, 0, 1, 127, 0, 0, 66, port >> 8, port & 255, 'hello');
    own.send(datagram, reply.readUInt16BE(8), '127.0.0.1');
    const [, from] = (await once(destination, 'message')) as [Buffer, RemoteInfo];
    client.destroy();
    const [closed] = await proxy.waitClosed();
    expect(proxy.started()[0]).toMatchObject(UNKNOWN);
    expect(closed).toMatchObject({ egress_ip: from.address, egress_port: from.port });
  });
});
