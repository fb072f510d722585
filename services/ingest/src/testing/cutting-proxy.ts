import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** A TCP proxy before ClickHouse that can swallow its answers, or stand still. */
export interface CuttingProxy {
  readonly url: string;
  /**
   * Holds back the server's answers to the next `count` inserts, and resets the client's connections:
   * the rows are stored, and ingest does not know.
   */
  cutAnswers(count: number): void;
  /** Inserts that were cut off so far. */
  readonly cuts: number;
  /** Passes nothing on until `resume`. */
  stall(): void;
  resume(): void;
  close(): Promise<void>;
}

export async function startCuttingProxy(targetUrl: string): Promise<CuttingProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let toCut = 0;
  let cuts = 0;
  let isStalled = false;

  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
      if (isStalled) socket.pause();
    }
    let isInsert = false;
    client.on('data', (chunk) => {
      if (chunk.includes('INSERT')) isInsert = true;
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      // The answer's first byte comes after the rows have been stored.
      if (isInsert && toCut > 0) {
        toCut -= 1;
        cuts += 1;
        client.resetAndDestroy();
        return;
      }
      isInsert = false;
      client.write(chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cutAnswers(count) {
      toCut = count;
    },
    get cuts() {
      return cuts;
    },
    stall() {
      isStalled = true;
      for (const socket of sockets) socket.pause();
    },
    resume() {
      isStalled = false;
      for (const socket of sockets) socket.resume();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
