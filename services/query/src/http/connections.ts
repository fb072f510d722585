import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

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
