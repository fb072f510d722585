import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TapSocket } from '../../tcp/socket.js';
import { probeNoDelay } from '../../testing/socket-probe.js';
import type { SocketProbe } from '../../testing/socket-probe.js';
import { Direction } from './direction.js';
import type { DirectionOwner } from './direction.js';
import { createReadBudget } from './read-budget.js';

const OWNER: DirectionOwner = {
  packet: () => undefined,
  delivered: () => undefined,
  busy: () => undefined,
  sourceEnded: () => undefined,
  isLast: () => false,
  changed: () => undefined,
};

/** One connection to `server`: our end as the dialer makes it, and the other. */
async function connection(server: Server): Promise<{ near: TapSocket; far: Socket }> {
  const near = new TapSocket();
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  near.connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  await once(near, 'connect');
  const [far] = await accepted;
  far.setNoDelay(true);
  return { near, far };
}

describe.runIf(process.platform === 'linux')('a direction', () => {
  let server: Server;
  let sockets: Socket[];
  let from: Socket;
  let to: Socket;
  let noDelay: SocketProbe;
  beforeEach(async () => {
    server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const [source, sink] = [await connection(server), await connection(server)];
    sockets = [source.near, source.far, sink.near, sink.far];
    from = source.far;
    to = sink.far;
    noDelay = probeNoDelay(sink.near);
    new Direction(OWNER, createReadBudget(), source.near, sink.near).start(null);
  });
  afterEach(() => {
    noDelay.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  async function send(text: string): Promise<void> {
    from.write(text);
    await once(to, 'data');
  }

  it('sets no option for a single short write, which is not delayed anyway', async () => {
    await send('short');
    expect(noDelay.isSet()).toBe(false);
  });

  it('does not delay a second write', async () => {
    await send('first');
    await send('second');
    expect(noDelay.isSet()).toBe(true);
  });

  it('does not delay the end of a first write that takes several segments', async () => {
    await send('x'.repeat(2_000));
    expect(noDelay.isSet()).toBe(true);
  });
});
