import { ServerResponse } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

/** A connection that its client would rather use for another protocol. */
interface Upgrade {
  /** The requested protocol, in lower case: `websocket`, `h2c`. */
  readonly protocol: string;
  /** Takes the connection away from HTTP. From there on it belongs to the new owner. */
  take(): { readonly socket: Socket; readonly head: Buffer };
}

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/** Whether a request wants to become a WebSocket and still can. */
export function webSocketOf(request: IncomingMessage): Upgrade | null {
  const upgrade = upgrades.get(request);
  return upgrade?.protocol === 'websocket' ? upgrade : null;
}

/** Routes with this constraint are for WebSockets alone, beside one of the same path for the rest. */
export const WEB_SOCKET = 'webSocket';

/** Option of `routerOptions` by which the router distinguishes the two. */
export const CONSTRAINTS = {
  [WEB_SOCKET]: {
    name: WEB_SOCKET,
    storage() {
      const handlers = new Map<string, never>();
      return {
        get: (wants: string) => handlers.get(wants) ?? null,
        set(wants: string, handler: never) {
          handlers.set(wants, handler);
        },
      };
    },
    validate: (wants: unknown) => wants === 'yes',
    deriveConstraint: (request: IncomingMessage) => (webSocketOf(request) === null ? '' : 'yes'),
  },
};

/**
 * Answers requests with an `Upgrade` header like any other, so that the same hosts, keys, limits
 * and problems hold for them; a route that speaks the protocol takes the connection over. Otherwise
 * the header is ignored, as RFC 9110 (7.8) allows: `curl --http2` and Java's HttpClient always ask
 * for h2c. Node would leave such a connection to us, without its parser.
 */
export function answerUpgrades(app: FastifyInstance): void {
  app.server.on('upgrade', (request, _stream, head) => {
    const { socket } = request;
    // Node has taken its own listener away. Without one, a client's reset would end the process.
    socket.on('error', () => socket.destroy());
    const response = new ServerResponse(request);
    // No parser reads bytes behind this request.
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    const onFinish = () => {
      socket.off('close', onGone);
      // Node does not wait for the client to end its side, nor do we.
      socket.destroySoon();
    };
    const onGone = () => {
      request.destroy();
    };
    response.once('finish', onFinish);
    socket.once('close', onGone);
    upgrades.set(request, {
      protocol: request.headers.upgrade?.toLowerCase() ?? '',
      take() {
        upgrades.delete(request);
        response.off('finish', onFinish);
        socket.off('close', onGone);
        response.detachSocket(socket);
        return { socket, head };
      },
    });
    app.server.emit('request', request, response);
  });
}
