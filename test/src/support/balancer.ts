import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

export interface Balancer {
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Hands TCP connections to these ports of 127.0.0.1 in turn. One that refuses, or resets before it has
 * answered anything, is passed over, as with redispatch in HAProxy.
 */
export async function startBalancer(ports: readonly number[]): Promise<Balancer> {
  let turn = 0;
  const open = new Set<Socket>();
  const server = createServer((client) => {
    open.add(client);
    client.on('error', () => undefined);
    client.on('close', () => open.delete(client));
    /** Sent by the client before anybody has answered. */
    const early: Buffer[] = [];
    client.on('data', (chunk: Buffer) => early.push(chunk));
    turn += 1;
    forward(client, early, turn, ports.length);
  });

  function forward(client: Socket, early: Buffer[], index: number, left: number): void {
    const target = connect(ports[index % ports.length] ?? 0, '127.0.0.1');
    const send = (chunk: Buffer) => target.write(chunk);
    for (const chunk of early) send(chunk);
    client.on('data', send);
    let hasAnswered = false;
    target.once('data', (chunk: Buffer) => {
      hasAnswered = true;
      client.removeAllListeners('data');
      client.write(chunk);
      client.pipe(target);
      target.pipe(client);
    });
    target.on('error', () => undefined);
    target.on('close', () => {
      client.off('data', send);
      if (hasAnswered || left === 1) client.destroy();
      else forward(client, early, index + 1, left - 1);
    });
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
