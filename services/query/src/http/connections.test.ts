import { once } from 'node:events';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import { expect, it } from 'vitest';
import { endConnectionsInOrder } from './connections.js';

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
