import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Ports that were handed out and perhaps are not listened on yet. The oldest may be given again. */
const handedOut = new Set<number>();
const HANDED_OUT_MAX = 256;

/** Linux's default; other systems begin at 32,768 or above too. */
const EPHEMERAL_FIRST = 32_768;
const CHOSEN_FIRST = 20_000;
const CHOSEN_ATTEMPTS = 100;

/**
 * Returns a TCP port of 127.0.0.1 that was free a moment ago, and that this process was not given
 * lately. It lies below the range that the system takes for outgoing connections: under load one of
 * those would take it before its listener does. Another test process may still choose the same one.
 *
 * @throws {Error} when a hundred random ports are all taken.
 */
export async function pickFreePort(): Promise<number> {
  for (let attempt = 0; attempt < CHOSEN_ATTEMPTS; attempt += 1) {
    const port = randomInt(CHOSEN_FIRST, EPHEMERAL_FIRST);
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    const [oldest] = handedOut;
    if (handedOut.size > HANDED_OUT_MAX && oldest !== undefined) handedOut.delete(oldest);
    if ((await listenProblem('127.0.0.1', port)) === null) return port;
  }
  throw new Error(`no free port between ${CHOSEN_FIRST} and ${EPHEMERAL_FIRST}`);
}

/**
 * Why this process cannot listen there: an errno such as `EADDRINUSE`, `EACCES` or `EADDRNOTAVAIL`;
 * null if it can.
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
