import { BlockList, isIPv6 } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { networkOf } from '../auth/authenticator.js';

/** The largest part of the connections that one source may have: others must still get in. */
const SHARE_OF_CONNECTIONS = 1 / 2;

/**
 * Closes connections beyond a source's share at once. A trusted proxy stands for many clients, so it may have all.
 *
 * @param limits `trusted_proxies` are addresses and blocks.
 */
export function shareConnections(
  server: Server,
  limits: { readonly connections_max: number; readonly trusted_proxies: readonly string[] },
): void {
  const perSourceMax = Math.max(1, Math.floor(limits.connections_max * SHARE_OF_CONNECTIONS));
  const proxies = blockListOf(limits.trusted_proxies);
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const { remoteAddress: address } = socket;
    if (address === undefined || proxies.check(address, familyOf(address))) return;
    const source = networkOf(address);
    const before = open.get(source) ?? 0;
    if (before >= perSourceMax) {
      socket.destroy();
      return;
    }
    open.set(source, before + 1);
    socket.once('close', () => {
      const left = (open.get(source) ?? 1) - 1;
      if (left === 0) open.delete(source);
      else open.set(source, left);
    });
  });
}

const familyOf = (address: string) => (isIPv6(address) ? 'ipv6' : 'ipv4');

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', length] = network.split('/');
    if (length === undefined) list.addAddress(address, familyOf(address));
    else list.addSubnet(address, Number(length), familyOf(address));
  }
  return list;
}

/**
 * Ends connections with the server: idle ones at once, others after their answer. By itself Node
 * waits for connections over which nothing was asked yet (60 s, `headersTimeout`; browsers open
 * some in advance), and fastify for those whose request was there before the end
 * (`keepAliveTimeout`), because only later requests get the notice that theirs is the last answer.
 */
export function endConnectionsInOrder(app: FastifyInstance): void {
  /** Requests that are being answered. HTTP/1.1 pipelining allows several. */
  const requests = new Map<Socket, number>();
  let isEnding = false;

  function endIfQuiet(socket: Socket): void {
    // Sends buffered bytes first.
    if (isEnding && requests.get(socket) === 0) socket.destroySoon();
  }

  app.server.on('connection', (socket: Socket) => {
    requests.set(socket, 0);
    socket.once('close', () => requests.delete(socket));
    endIfQuiet(socket);
  });
  app.server.on('request', ({ socket }, response) => {
    requests.set(socket, (requests.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const before = requests.get(socket);
      if (before === undefined) return;
      requests.set(socket, before - 1);
      endIfQuiet(socket);
    });
  });
  // From there on it belongs to the new owner.
  app.server.on('upgrade', ({ socket }) => requests.delete(socket));
  app.addHook('preClose', async () => {
    isEnding = true;
    for (const socket of requests.keys()) endIfQuiet(socket);
  });
}
