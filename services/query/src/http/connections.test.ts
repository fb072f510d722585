import { once } from 'node:events';
import { connect, Server } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { fastify } from 'fastify';
import { afterEach, describe, expect, it } from 'vitest';
import { endConnectionsInOrder, shareConnections } from './connections.js';

/** Far below the minute and more that a connection would stay without it. */
const SOON_MS = 10_000;

it(
  'connections end with the server: unused and idle ones at once, others with their answer',
  async () => {
    const app = fastify({ forceCloseConnections: 'idle' });
    endConnectionsInOrder(app);
    let goOn: () => void = () => undefined;
    const waiting = new Promise<void>((go) => {
      goOn = go;
    });
    const asked = new Promise<void>((resolve) => {
      app.get('/slow', async () => {
        resolve();
        await waiting;
        return 'answer';
      });
    });
    app.get('/fast', () => 'answer');
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    const unused = connect(port, '127.0.0.1');
    unused.resume();
    const unusedEnded = once(unused, 'close');
    await once(unused, 'connect');
    await (await fetch(`${url}/fast`)).text();
    const answer = fetch(`${url}/slow`).then((response) => response.text());
    await asked;
    const closed = app.close();
    await unusedEnded;
    goOn();
    expect(await answer).toBe('answer');
    await closed;
  },
  SOON_MS,
);

describe('connections of one source', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  /** A server for four connections, which greets those that it keeps. */
  async function startServer(trusted: readonly string[]): Promise<number> {
    const server = new Server();
    servers.push(server);
    shareConnections(server, { connections_max: 4, trusted_proxies: trusted });
    server.on('connection', (socket: Socket) => {
      socket.on('error', () => undefined);
      if (!socket.destroyed) socket.write('in');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** Connects from an address. @returns whether it was let in. */
  async function visit(port: number, localAddress: string) {
    const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => undefined);
    const isIn = await Promise.race([
      once(socket, 'data').then(() => true),
      once(socket, 'close').then(() => false),
    ]);
    return { socket, isIn };
  }

  it('are half of all at most, so others still get in, and one that ends makes room', async () => {
    const port = await startServer([]);
    const [first, second] = [await visit(port, '127.0.0.2'), await visit(port, '127.0.0.2')];
    expect([first.isIn, second.isIn]).toEqual([true, true]);
    expect((await visit(port, '127.0.0.2')).isIn).toBe(false);
    const other = await visit(port, '127.0.0.3');
    expect(other.isIn).toBe(true);
    first.socket.destroy();
    const next: Socket[] = [];
    await expect
      .poll(async () => {
        const again = await visit(port, '127.0.0.2');
        next.push(again.socket);
        return again.isIn;
      })
      .toBe(true);
    for (const socket of [second.socket, other.socket, ...next]) socket.destroy();
  });

  it('may be all if the source is a trusted proxy, because it stands for many clients', async () => {
    const port = await startServer(['192.0.2.1', '127.0.0.0/29']);
    const all = [];
    for (let i = 0; i < 4; i += 1) all.push(await visit(port, '127.0.0.2'));
    expect(all.map(({ isIn }) => isIn)).toEqual([true, true, true, true]);
    for (const { socket } of all) socket.destroy();
  });
});
