import type { Socket } from 'node:net';
import type { ClashQuery } from '@sockscope/schemas/api';
import { clashSocketQuery } from '@sockscope/schemas/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import type { Context } from '../http/context.js';
import { answerBrokenRequest } from '../http/errors.js';
import { ProblemError } from '../problems/problem.js';
import { WEB_SOCKET, webSocketOf } from '../http/upgrades.js';
import { createShares } from '../store/shares.js';
import type { Store } from '../store/store.js';
import { CLASH_FEEDS, createFeed, createSharedViews } from './feeds.js';

const SOCKETS_MAX = 100;
/** Sockets of one key or token. Without authentication, all clients share them. */
const SOCKETS_PER_KEY_MAX = 20;
const MESSAGE_MAX_BYTES = 1_024;
/**
 * Unsent bytes of one client; a slower client misses messages, each of which is the whole state.
 */
const BUFFER_MAX_BYTES = 1_048_576;
const INTERVAL_DEFAULT_MS = 1_000;
const RECHECK_INTERVAL_MS = 5_000;
const PING_INTERVAL_MS = 30_000;
const RETRY_AFTER_SECONDS = 5;
const STOP_GRACE_MS = 1_000;

export interface ClashSocketDeps {
  readonly store: Store;
  contextOf(request: FastifyRequest, reply: FastifyReply): Context;
  /** Whether the owner of a socket may still read. */
  isStillAllowed(request: FastifyRequest): Promise<boolean>;
  /** How often that is asked; default: half a minute. */
  readonly recheckIntervalMs?: number;
  /** How often a client must answer a ping; default: half a minute. */
  readonly pingIntervalMs?: number;
}

/**
 * WebSockets for dashboards of mihomo: the whole state, repeatedly. Such a request has
 * passed the same checks as any other, and ends with the app.
 */
export function serveClashSockets(app: FastifyInstance, deps: ClashSocketDeps): void {
  const shares = createShares(SOCKETS_PER_KEY_MAX);
  const views = createSharedViews();
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_MAX_BYTES });
  // A handshake that breaks RFC 6455, such as one with a short key.
  sockets.on('wsClientError', (error: NodeJS.ErrnoException, stream: Socket) => {
    answerBrokenRequest(error, stream, ['Sec-WebSocket-Version: 13']);
  });
  app.addHook('preClose', async () => {
    for (const socket of sockets.clients) {
      socket.close(1001, 'stopping');
      // A silent client would delay the stop.
      setTimeout(() => {
        socket.terminate();
      }, STOP_GRACE_MS).unref();
    }
    sockets.close();
  });
  for (const feed of CLASH_FEEDS) {
    app.get(
      `/${feed}`,
      {
        config: { scope: 'read', audience: 'everyone' },
        constraints: { [WEB_SOCKET]: 'yes' },
        exposeHeadRoute: false,
        schema: { hide: true, querystring: clashSocketQuery },
      },
      async (request, reply) => {
        const context = deps.contextOf(request, reply);
        const upgrade = webSocketOf(request.raw);
        if (upgrade === null) throw new Error('this route only takes WebSockets');
        if (sockets.clients.size >= SOCKETS_MAX) {
          throw new ProblemError('overloaded', 'too many WebSockets are open', {
            retryAfterSeconds: RETRY_AFTER_SECONDS,
          });
        }
        const leaveShare = shares.enter(context.share, 'WebSockets');
        request.raw.socket.once('close', leaveShare);
        const { interval = INTERVAL_DEFAULT_MS } = request.query as ClashQuery;
        const viewer = {
          onlyUsers: context.onlyUsers,
          mask: context.mask,
        };
        reply.hijack();
        const { socket, head } = upgrade.take();
        sockets.handleUpgrade(request.raw, socket, head, (opened) => {
          feedInto(opened, createFeed(feed, deps.store, viewer, views), interval, () =>
            deps.isStillAllowed(request),
          );
        });
        return reply;
      },
    );
  }

  function feedInto(
    socket: WebSocket,
    next: ReturnType<typeof createFeed>,
    intervalMs: number,
    isStillAllowed: () => Promise<boolean>,
  ): void {
    const gone = new AbortController();
    let isAsking = false;
    const send = async () => {
      if (isAsking || socket.bufferedAmount > BUFFER_MAX_BYTES) return;
      isAsking = true;
      try {
        const message = await next(gone);
        if (message !== null && socket.readyState === socket.OPEN) {
          socket.send(message);
        }
      } catch {
        // The next message is soon enough; the store counts the failure.
      } finally {
        isAsking = false;
      }
    };
    const timer = setInterval(() => void send(), intervalMs);
    let isAlive = true;
    socket.on('pong', () => {
      isAlive = true;
    });
    // A machine that vanished sends nothing, and some feeds never send: their places would stay taken.
    const ping = setInterval(() => {
      if (!isAlive) {
        socket.terminate();
        return;
      }
      isAlive = false;
      socket.ping();
    }, deps.pingIntervalMs ?? PING_INTERVAL_MS);
    const recheck = setInterval(() => {
      isStillAllowed().then(
        (allowed) => {
          if (!allowed) socket.close(1008, 'the key or token is no longer valid');
        },
        // An unknown result is no reason to end: the next check will show.
        () => undefined,
      );
    }, deps.recheckIntervalMs ?? RECHECK_INTERVAL_MS);
    socket.on('error', () => {
      socket.terminate();
    });
    socket.on('close', () => {
      clearInterval(timer);
      clearInterval(ping);
      clearInterval(recheck);
      gone.abort();
    });
    void send();
  }
}
