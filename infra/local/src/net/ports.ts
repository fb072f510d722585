import { once } from 'node:events';
import { createServer } from 'node:net';

/** Ports that were handed out and perhaps are not listened on yet. The oldest may be given again. */
const handedOut = new Set<number>();
const HANDED_OUT_MAX = 256;

/**
 * A TCP port of 127.0.0.1 that was free a moment ago, and that this process was not given lately.
 * Another process may take it meanwhile.
 */
export async function pickFreePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('no TCP address');
  const { port } = address;
  // The system may well give the same one twice in a row; held meanwhile, it gives another.
  const other = handedOut.has(port) ? await pickFreePort() : null;
  server.close();
  await once(server, 'close');
  if (other !== null) return other;
  handedOut.add(port);
  const [oldest] = handedOut;
  if (handedOut.size > HANDED_OUT_MAX && oldest !== undefined) handedOut.delete(oldest);
  return port;
}

/**
 * Why this process cannot listen there: an errno such as `EADDRINUSE`, `EACCES` or
 * `EADDRNOTAVAIL`; null where it can.
 */
export async function listenProblem(host: string, port: number): Promise<string | null> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => {
        resolve(null);
      });
    });
  });
}
