import type { CoverageReader } from '../coverage/coverage.js';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { clashQuery } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import type { Authenticator } from '../auth/authenticator.js';
import { mayDo } from '../auth/principal.js';
import type { Principal } from '../auth/principal.js';
import { isServedHost } from '../http/guard.js';
import { NO_MASK } from '../mask/mask.js';
import type { Mask } from '../mask/mask.js';
import type { Store } from '../store/store.js';
import { clashConnectionsOf } from './connections.js';

const PATH = '/api/v1/connections';
const SOCKETS_MAX = 100;
const MESSAGE_MAX_BYTES = 1_024;
/** Unsent bytes of one client; whoever is slower misses messages, each of which is the whole state. */
const BUFFER_MAX_BYTES = 1_048_576;
const INTERVAL_DEFAULT_MS = 1_000;
const RECHECK_INTERVAL_MS = 30_000;

export interface ClashSocketDeps {
  readonly store: Store;
  readonly coverage: CoverageReader;
  readonly authenticator: Authenticator;
  readonly mask: Mask;
  readonly hosts: readonly string[];
}

/**
 * The same address by WebSocket, as those dashboards want it: the whole state, again and again.
 * Ends with the app.
 */
export function serveClashSocket(app: FastifyInstance, deps: ClashSocketDeps): void {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_MAX_BYTES });
  app.addHook('preClose', async () => {
    for (const socket of sockets.clients) socket.close(1001, 'stopping');
    sockets.close();
  });
  app.server.on('upgrade', (request, stream, head) => {
    void upgrade(request, stream, head).catch(() => {
      refuse(stream, 503);
    });
  });

  async function upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const [path, search = ''] = (request.url ?? '').split('?', 2);
    const query = clashQuery.safeParse(Object.fromEntries(new URLSearchParams(search)));
    if (path !== PATH) return refuse(stream, 404);
    if (!query.success) return refuse(stream, 400);
    if (!isServedHost(deps.hosts, request.headers.host)) return refuse(stream, 403);
    if (sockets.clients.size >= SOCKETS_MAX) return refuse(stream, 503);
    const credentials = {
      authorization: request.headers.authorization,
      apiKey: query.data.token,
      remoteIp: request.socket.remoteAddress ?? '',
    };
    const identify = () => deps.authenticator.authenticate(credentials).catch(() => null);
    const principal = await identify();
    if (principal === null || !mayDo(principal, 'read')) return refuse(stream, 401);
    sockets.handleUpgrade(request, stream, head, (socket) => {
      feed(socket, principal, query.data.interval ?? INTERVAL_DEFAULT_MS, async () => {
        const now = await identify();
        return now !== null && mayDo(now, 'read') && now.user === principal.user;
      });
    });
  }

  function feed(
    socket: WebSocket,
    principal: Principal,
    intervalMs: number,
    isStillAllowed: () => Promise<boolean>,
  ): void {
    const gone = new AbortController();
    const who = {
      onlyUser: principal.user,
      mask: mayDo(principal, 'admin') ? NO_MASK : deps.mask,
    };
    let isAsking = false;
    const send = async () => {
      if (isAsking || socket.bufferedAmount > BUFFER_MAX_BYTES) return;
      isAsking = true;
      try {
        const state = await clashConnectionsOf(deps, who, gone);
        if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(state));
      } catch {
        // The next message will do; what failed is counted by the store.
      } finally {
        isAsking = false;
      }
    };
    const timer = setInterval(() => void send(), intervalMs);
    const recheck = setInterval(() => {
      void isStillAllowed().then((allowed) => {
        if (!allowed) socket.close(1008, 'the key or token is no longer valid');
      });
    }, RECHECK_INTERVAL_MS);
    socket.on('error', () => {
      socket.terminate();
    });
    socket.on('close', () => {
      clearInterval(timer);
      clearInterval(recheck);
      gone.abort();
    });
    void send();
  }
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  503: 'Service Unavailable',
};

function refuse(stream: Duplex, status: number): void {
  stream.end(`HTTP/1.1 ${status} ${REASONS[status] ?? ''}\r\nConnection: close\r\n\r\n`);
}
