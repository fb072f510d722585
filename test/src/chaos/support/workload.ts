/** Real traffic through a real SOCKS5 proxy, and the counts that the proxy must have. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { IS_FULL, until } from './site.js';

/** The bytes of one session, by the client's own count. */
export interface Moved {
  readonly sourcePort: number;
  readonly sent: number;
  readonly received: number;
}

/** A client that stays connected and periodically sends and gets a little. */
export interface Trickle {
  readonly sourcePort: number;
  /** Bytes that were sent, and came back. */
  readonly echoed: number;
  /** Ends its side, and resolves when the other has ended too. */
  end(): Promise<Moved>;
  readonly broken: boolean;
}

export interface Workload {
  /** One session: sends, half-closes, gets its answer. Rejects if the proxy refuses. */
  exchange(sendBytes: number, receiveBytes: number): Promise<Moved>;
  trickle(): Promise<Trickle>;
  stop(): Promise<void>;
}

export class RefusedBySocks extends Error {
  readonly reply: number;

  constructor(reply: number) {
    super(`the proxy replied ${reply}`);
    this.reply = reply;
  }
}

const ECHO = 0xffff_ffff;
const TRICKLE_BYTES = 512;
const TRICKLE_INTERVAL_MS = 50;

/**
 * The origin reads four bytes, a number. With all bits set it echoes; otherwise it
 * reads to the end and answers with that many bytes.
 */
async function startOrigin() {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    let wantedBytes: number | null = null;
    socket.on('data', (chunk) => {
      let rest = chunk;
      if (wantedBytes === null) {
        // Clients here send the number in one piece with the next bytes.
        wantedBytes = chunk.readUInt32BE(0);
        rest = chunk.subarray(4);
      }
      if (wantedBytes === ECHO && rest.length > 0) socket.write(rest);
    });
    socket.on('end', () => {
      if (wantedBytes === null || wantedBytes === ECHO) socket.end();
      else socket.end(Buffer.alloc(wantedBytes, 'x'));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

/** A tunnel through the proxy to the origin. */
async function tunnel(proxyPort: number, originPort: number): Promise<Socket> {
  const socket = connect({ port: proxyPort, host: '127.0.0.1', allowHalfOpen: true });
  try {
    await once(socket, 'connect');
    socket.write(Buffer.from([5, 1, 0]));
    await take(socket, 2);
    const request = Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, 0, 0]);
    request.writeUInt16BE(originPort, 8);
    socket.write(request);
    const reply = await take(socket, 10);
    if (reply[1] !== 0) throw new RefusedBySocks(reply[1] ?? -1);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** The next bytes, which the proxy sends alone. */
function take(socket: Socket, count: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let got = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      got = Buffer.concat([got, chunk]);
      if (got.length < count) return;
      settle();
      resolve(got);
    };
    const onOver = (): void => {
      settle();
      reject(new Error('the proxy hung up'));
    };
    const settle = (): void => {
      socket.off('data', onData);
      for (const event of ['end', 'close', 'error']) socket.off(event, onOver);
    };
    socket.on('data', onData);
    for (const event of ['end', 'close', 'error']) socket.on(event, onOver);
  });
}

function command(number: number, payloadBytes: number): Buffer {
  const message = Buffer.alloc(4 + payloadBytes, 'y');
  message.writeUInt32BE(number, 0);
  return message;
}

/** Resolves with the bytes that come until the other side ends. */
function receiveAll(socket: Socket): Promise<number> {
  return new Promise((resolve, reject) => {
    let bytes = 0;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.once('end', () => {
      resolve(bytes);
    });
    socket.once('error', reject);
    socket.once('close', () => {
      reject(new Error('closed before its end'));
    });
  });
}

export async function startWorkload(proxyPort: number): Promise<Workload> {
  const origin = await startOrigin();
  const open = new Set<Socket>();

  async function dial(): Promise<Socket> {
    const socket = await tunnel(proxyPort, origin.port);
    open.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => open.delete(socket));
    return socket;
  }

  return {
    async exchange(sendBytes, receiveBytes) {
      const socket = await dial();
      const sourcePort = socket.localPort ?? 0;
      const message = command(receiveBytes, sendBytes);
      const answer = receiveAll(socket);
      socket.end(message);
      const received = await answer;
      return { sourcePort, sent: message.length, received };
    },
    async trickle() {
      const socket = await dial();
      const sourcePort = socket.localPort ?? 0;
      const all = receiveAll(socket);
      let isEnding = false;
      let isBroken = false;
      let sent = 4;
      let received = 0;
      socket.on('data', (chunk) => {
        received += chunk.length;
      });
      all.catch(() => {
        isBroken = true;
      });
      socket.write(command(ECHO, 0));
      const run = (async () => {
        while (!isEnding && !isBroken) {
          socket.write(Buffer.alloc(TRICKLE_BYTES, 'z'));
          sent += TRICKLE_BYTES;
          await delay(TRICKLE_INTERVAL_MS);
        }
      })();
      return {
        sourcePort,
        get echoed() {
          return received;
        },
        get broken() {
          return isBroken;
        },
        async end() {
          isEnding = true;
          await run;
          socket.end();
          return { sourcePort, sent, received: await all };
        },
      };
    },
    async stop() {
      for (const socket of open) socket.destroy();
      origin.server.close();
      await once(origin.server, 'close');
    },
  };
}

/** Between two sessions of a client. At full speed they would take the cores that servers need to start. */
const PAUSE_MIN_MS = IS_FULL ? 0 : 30;
const PAUSE_SPAN_MS = IS_FULL ? 20 : 60;

/** Sessions of many sizes, several at once, until stopped. */
export function keepBusy(
  workload: Workload,
  options: { readonly atOnce: number; readonly random: () => number },
): {
  /** The bytes of ended sessions, and the times of their ends. */
  readonly done: readonly (Moved & { readonly endedAtMs: number })[];
  readonly failures: readonly unknown[];
  /** Resolves when this many more sessions have ended. */
  more(count: number): Promise<void>;
  stop(): Promise<void>;
} {
  const done: (Moved & { endedAtMs: number })[] = [];
  const failures: unknown[] = [];
  let isStopping = false;
  const size = (): number => Math.floor(options.random() ** 4 * 200_000);
  const clients = Array.from({ length: options.atOnce }, async () => {
    while (!isStopping) {
      try {
        const moved = await workload.exchange(size(), size());
        done.push({ ...moved, endedAtMs: Date.now() });
      } catch (error) {
        failures.push(error);
      }
      await delay(PAUSE_MIN_MS + Math.floor(options.random() * PAUSE_SPAN_MS));
    }
  });
  return {
    done,
    failures,
    more(count) {
      const wanted = done.length + count;
      return until(`${count} more sessions`, 60_000, () => done.length >= wanted);
    },
    async stop() {
      isStopping = true;
      await Promise.all(clients);
    },
  };
}
