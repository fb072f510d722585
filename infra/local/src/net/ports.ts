import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { createServer } from 'node:net';

/**
 * Ports that were handed out and perhaps are not listened on yet. A UDP socket on the same number keeps
 * each from other processes that choose a port. The oldest may be given again.
 */
const handedOut = new Map<number, Socket | null>();
const HANDED_OUT_MAX = 256;

/** Linux's default; other systems begin at 32,768 or above too. */
const EPHEMERAL_FIRST = 32_768;
const CHOSEN_FIRST = 20_000;
const CHOSEN_ATTEMPTS = 100;

/**
 * Returns a TCP port of 127.0.0.1 that was free a moment ago, and that no process on this machine was
 * given lately. It lies below the range that the system takes for outgoing connections: under load one
 * of those would take it before its listener does.
 *
 * @throws {Error} when a hundred random ports are all taken.
 */
export async function pickFreePort(): Promise<number> {
  for (let attempt = 0; attempt < CHOSEN_ATTEMPTS; attempt += 1) {
    const port = randomInt(CHOSEN_FIRST, EPHEMERAL_FIRST);
    if (handedOut.has(port)) continue;
    handedOut.set(port, null);
    const { isTaken, holder } = await reserve(port);
    if (isTaken || (await listenProblem('127.0.0.1', port)) !== null) {
      holder?.close();
      continue;
    }
    handedOut.set(port, holder);
    const [oldest] = handedOut;
    if (handedOut.size > HANDED_OUT_MAX && oldest !== undefined) {
      oldest[1]?.close();
      handedOut.delete(oldest[0]);
    }
    return port;
  }
  throw new Error(`no free port between ${CHOSEN_FIRST} and ${EPHEMERAL_FIRST}`);
}

/** Whether another process has reserved the port; if not, this one has until it ends. */
async function reserve(port: number): Promise<{ isTaken: boolean; holder: Socket | null }> {
  const holder = createSocket('udp4').unref();
  return new Promise((resolve) => {
    holder.once('error', ({ code }: NodeJS.ErrnoException) => {
      holder.close();
      // If UDP is forbidden, ports are given without a reservation.
      resolve({ isTaken: code === 'EADDRINUSE', holder: null });
    });
    holder.bind({ port, address: '127.0.0.1', exclusive: true }, () => {
      resolve({ isTaken: false, holder });
    });
  });
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
