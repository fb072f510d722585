import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { discardReads, sendForEver } from './sockets.js';

/** The destinations of the bench, all in the generator's process. */
export interface Origin {
  /** Sends without end. */
  readonly source: number;
  /** Counts into `received`. */
  readonly sink: number;
  /** Echoes its input. */
  readonly echo: number;
  /** Sends nothing. */
  readonly silent: number;
  received: number;
}

async function serve(onConnection: (socket: Socket) => void, pause = false): Promise<number> {
  const server: Server = createServer({ noDelay: true, pauseOnConnect: pause }, (socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 });
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

export async function startOrigin(): Promise<Origin> {
  const origin = {
    source: await serve((socket) => {
      socket.resume();
      sendForEver(socket);
    }),
    sink: await serve((socket) => {
      discardReads(socket, (bytes) => {
        origin.received += bytes;
      });
    }, true),
    echo: await serve((socket) => {
      socket.on('data', (chunk) => {
        socket.write(chunk);
      });
    }),
    silent: await serve((socket) => {
      socket.resume();
    }),
    received: 0,
  };
  return origin;
}
