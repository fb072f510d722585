/**
 * The ceiling of Node: a bare SOCKS5 proxy, `pipe` both ways. No tracking,
 * no limits, no access rules, no timeouts.
 */
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

const METHOD_NONE = Buffer.from([5, 0]);
const SUCCEEDED = Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);

function readRequest(client: Socket, request: Buffer): void {
  const host = [...request.subarray(4, 8)].join('.');
  const upstream = connect({ host, port: request.readUInt16BE(8), noDelay: true });
  upstream.once('connect', () => {
    client.write(SUCCEEDED);
    client.pipe(upstream);
    upstream.pipe(client);
  });
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  upstream.on('error', end);
  client.on('error', end);
}

createServer({ noDelay: true }, (client) => {
  client.on('error', () => undefined);
  client.once('data', () => {
    client.once('data', (request) => {
      readRequest(client, request);
    });
    client.write(METHOD_NONE);
  });
}).listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });
