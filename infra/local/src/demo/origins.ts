import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { messageOf } from '@sockscope/runtime';
import { LocalError } from '../errors.js';
import { addressOf, FLAKY, SERVED, type Land } from './cast.js';
import { createPacer } from './pacer.js';

/** Bytes of a request's first line; a client that sends more without an end of line is cut off. */
const LINE_BYTES_MAX = 1_024;
const CONNECTIONS_MAX = 500;
const ORDER = /^GET \/demo\/(\d{1,10})\/(\d{1,8})\/(client|destination) HTTP/;
const PAGE = 'You have reached a server of the Sockscope demo.\n';

export interface Origins {
  stop(): Promise<void>;
}

/** Returns the first line of a demo client's request: how many bytes it wants, and in how much time. */
export function orderLine(
  received: number,
  durationMs: number,
  endedBy: 'client' | 'destination',
): string {
  return `GET /demo/${String(received)}/${String(durationMs)}/${endedBy} HTTP/1.1\r\n`;
}

/**
 * A server on the address of each destination. It sends the bytes that a client of the demo orders, and a small
 * page to everybody else, such as curl.
 */
export async function startOrigins(land: Land): Promise<Origins> {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  try {
    for (const place of SERVED) {
      const { host, service } = place;
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
        serve(socket, host === FLAKY.host);
      });
      server.maxConnections = CONNECTIONS_MAX;
      server.listen({ host: addressOf(place, land), port: land.ports[service], exclusive: true });
      await once(server, 'listening');
      servers.push(server);
    }
  } catch (error) {
    for (const server of servers) server.close();
    throw new LocalError(
      'PORT_TAKEN',
      `A server of the demo could not start: ${messageOf(error)}. If another demo runs on this machine, stop it, or give this one another folder: LOCAL_DATA_DIR=.local/demo2`,
      { cause: error },
    );
  }
  return {
    async stop() {
      for (const socket of sockets) socket.destroy();
      await Promise.all(
        servers.map(async (server) => {
          server.close();
          await once(server, 'close');
        }),
      );
    },
  };
}

function serve(socket: Socket, isFlaky: boolean): void {
  let line = '';
  socket.on('error', () => undefined);
  socket.on('data', function look(chunk: Buffer) {
    line += chunk.toString('latin1', 0, LINE_BYTES_MAX);
    if (!line.includes('\n') && line.length < LINE_BYTES_MAX) return;
    socket.off('data', look);
    socket.resume();
    const order = ORDER.exec(line);
    if (order === null) {
      const head = `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${String(PAGE.length)}\r\n`;
      socket.end(`${head}connection: close\r\n\r\n${PAGE}`);
      return;
    }
    const [, bytes, durationMs, endedBy] = order;
    createPacer(socket, {
      bytes: Number(bytes),
      durationMs: isFlaky ? Number(durationMs) / 2 : Number(durationMs),
      onDone: () => {
        if (isFlaky) socket.resetAndDestroy();
        else if (endedBy === 'destination') socket.end();
      },
    });
  });
}
