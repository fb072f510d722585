import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** A TCP destination that counts the bytes in and out of its own sockets. */
export interface CountingServer {
  readonly port: number;
  /** Totals of the connections that have ended. */
  readonly totals: {
    readonly connections: number;
    readonly read: number;
    readonly written: number;
  };
  /** Connections that are open. */
  readonly open: number;
  stop(): Promise<void>;
}

async function listening(server: Server, host: string): Promise<CountingServer> {
  const totals = { connections: 0, read: 0, written: 0 };
  const open = new Set<Socket>();
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      open.delete(socket);
      totals.connections += 1;
      totals.read += socket.bytesRead;
      totals.written += socket.bytesWritten;
    });
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    totals,
    get open() {
      return open.size;
    },
    async stop() {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** Reads to the end of the client's side, then answers with the SHA-256 of it: proves a half-close. */
export function startDigestServer(host = '127.0.0.1'): Promise<CountingServer> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const hash = createHash('sha256');
    socket.on('data', (chunk) => hash.update(chunk));
    socket.on('end', () => socket.end(hash.digest('hex')));
  });
  return listening(server, host);
}

export function startEchoServer(host = '127.0.0.1'): Promise<CountingServer> {
  return listening(
    createServer((socket) => socket.pipe(socket)),
    host,
  );
}

export function startHttpServer(
  handler: RequestListener,
  host = '127.0.0.1',
): Promise<CountingServer> {
  return listening(createHttpServer(handler), host);
}
