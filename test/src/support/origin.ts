import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const CHUNK = Buffer.alloc(16 * 1024, 0x61);

export interface Origin {
  readonly port: number;
  /** The client address of each request, the newest last. */
  readonly peers: readonly { readonly ip: string; readonly port: number }[];
  stop(): Promise<void>;
}

/**
 * A real HTTP server. `GET /bytes/N` answers N bytes, `GET /drip/N?every=MS` 16 KiB at
 * a time until N, `POST /` the number of bytes it got.
 */
export async function startOrigin(host = '127.0.0.1'): Promise<Origin> {
  const peers: { ip: string; port: number }[] = [];
  const server = createServer((request, response) => {
    const { remoteAddress = '', remotePort = 0 } = request.socket;
    peers.push({ ip: remoteAddress, port: remotePort });
    const url = new URL(request.url ?? '/', 'http://origin');
    const [, kind, size] = url.pathname.split('/');
    if (request.method === 'POST') {
      let received = 0;
      request.on('data', (chunk: Buffer) => {
        received += chunk.length;
      });
      request.on('end', () => {
        response.end(String(received));
      });
      return;
    }
    const total = Number(size ?? 0);
    response.writeHead(200, { 'content-length': String(total) });
    if (kind === 'bytes') {
      response.end(Buffer.alloc(total, 0x62));
      return;
    }
    let sent = 0;
    const timer = setInterval(
      () => {
        const part = CHUNK.subarray(0, Math.min(CHUNK.length, total - sent));
        sent += part.length;
        response.write(part);
        if (sent === total) {
          clearInterval(timer);
          response.end();
        }
      },
      Number(url.searchParams.get('every') ?? 50),
    );
    response.on('close', () => {
      clearInterval(timer);
    });
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    peers,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
