import { once } from 'node:events';
import type { StreamQuery } from '@sockscope/schemas/api';
import { streamCountersExample, streamQuery, streamSessionExample } from '@sockscope/schemas/api';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Context } from '../http/context.js';
import { originHeadersOf } from '../http/origins.js';
import { ProblemError } from '../problems/problem.js';
import { PROBLEMS } from '../http/question.js';
import { viewOf, visiblePredicate } from '../mask/visible.js';
import type { SumsDeps } from '../sums/sums.js';
import { BEHIND_MAX_BYTES, DRAIN_MAX_MS, PING_INTERVAL_MS, RECHECK_INTERVAL_MS } from './config.js';
import type { StreamConfig } from './config.js';
import type { Gate } from '../store/gate.js';
import { countersOf } from './counters.js';
import { frame, positionOf } from './event.js';
import type { Position } from './event.js';
import type { Shares } from '../store/shares.js';
import { gapOf } from './hub.js';
import type { Hub } from './hub.js';
import type { StreamMetrics } from './metrics.js';
import { createPieces } from './pieces.js';
import type { StreamView } from './pieces.js';

export interface StreamDeps extends SumsDeps {
  readonly hub: Hub;
  readonly gates: { readonly resume: Gate };
  readonly config: StreamConfig;
  readonly metrics: StreamMetrics;
  /** Shares of both kinds of streams together. */
  readonly shares: Shares;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  contextOf(request: FastifyRequest, reply: FastifyReply): Context;
  /** Whether the owner of a stream may still read. */
  isStillAllowed(request: FastifyRequest): Promise<boolean>;
}

const RETRY_MS = 2_000;
const END_GRACE_MS = 1_000;

const EXAMPLE = [
  `retry: ${RETRY_MS}\n\n`,
  frame('changed', streamSessionExample, '1769860835012-1f2e3d4c-17'),
  frame('counters', streamCountersExample),
].join('');

/** The stream of a client, and its frames. */
const streamText = z.string().meta({
  examples: [EXAMPLE],
  contentMediaType: 'text/event-stream',
  contentSchema: {
    type: 'array',
    items: { $ref: '#/components/schemas/StreamFrame' },
  },
});

/** `GET /stream`: server-sent events of sessions and counters. */
export function serveStream(app: FastifyInstance, deps: StreamDeps): void {
  const open = new Set<(cause: 'stopping') => void>();
  const piecesOf = createPieces(deps.hub.name);
  let joining = 0;
  app.addHook('preClose', async () => {
    for (const end of open) end('stopping');
  });
  app.get(
    '/stream',
    {
      // A HEAD would never end.
      exposeHeadRoute: false,
      config: { scope: 'read', audience: 'everyone' },
      schema: {
        operationId: 'stream',
        summary:
          'Server-sent events: sessions started, changed and closed, and counters; resumes at Last-Event-ID',
        description:
          'Frames `started`, `changed` and `closed` carry a StreamSession, `counters` a StreamCounters. ' +
          'An event may come twice: (session_id, seq) identifies it. `gap` has the range in which events ' +
          'are missing: load the state again. A client that reads too slowly is disconnected, and may resume.',
        tags: ['live'],
        querystring: streamQuery,
        response: {
          200: {
            description: 'a stream of frames',
            content: { 'text/event-stream': { schema: streamText } },
          },
          ...PROBLEMS,
        },
      },
    },
    async (request, reply) => {
      const context = deps.contextOf(request, reply);
      if (open.size + joining >= deps.config.clients_max) {
        throw new ProblemError('overloaded', 'too many live streams are open', {
          retryAfterSeconds: 5,
        });
      }
      const query = request.query as StreamQuery;
      const since = lastPosition(request);
      const matches = visiblePredicate(query, context);
      const leaveShare = deps.shares.enter(context.share, 'live streams');
      const wanted = (type: string) => query.type?.some((each) => each === type) ?? true;
      const view: StreamView = {
        name: JSON.stringify([viewOf(query, context), query.type]),
        mask: context.mask,
        passes: (event) => wanted(event.type) && matches(event.session),
      };
      // Until the stream is open and has the missed events, frames wait; an error before it is open
      // is still reported as a problem.
      let write = (pieces: readonly Buffer[]) => {
        early.push(...pieces);
      };
      const early: Buffer[] = [];
      const join = () =>
        deps.hub.join(
          {
            events(events) {
              write(piecesOf(events, view));
            },
            gap(fromMs, toMs) {
              write([Buffer.from(frame('gap', gapOf(fromMs, toMs), String(toMs)))]);
            },
          },
          since,
        );
      const begin = async () => {
        const leave = await join();
        const writer = openWriter(request, reply, deps, open);
        isOpen = true;
        writer.onEnd(leaveShare);
        writer.onEnd(leave);
        // A client that reads missed events more slowly than new ones come would let these pile up.
        write = (pieces) => {
          early.push(...pieces);
          const bytes = early.reduce((sum, piece) => sum + piece.byteLength, 0);
          if (bytes > BEHIND_MAX_BYTES) writer.end('slow');
        };
        const late = setTimeout(() => {
          writer.end('slow');
        }, deps.config.catch_up_max_ms);
        while (writer.isOpen && early.length > 0) {
          writer.write(early.splice(0, 1));
          await writer.drained();
        }
        clearTimeout(late);
        write = (pieces) => {
          writer.write(pieces);
        };
        if (wanted('counters')) startCounters(deps, context, writer);
      };
      joining += 1;
      let isOpen = false;
      try {
        // Missed events may be many: write a few at a time.
        await (since === null ? begin() : deps.gates.resume.pass(context, begin));
      } finally {
        joining -= 1;
        if (!isOpen) leaveShare();
      }
      return reply;
    },
  );
}

/** A position before everything that is kept: a client that resumes from there gets a gap. */
const UNREADABLE: Position = { storedMs: 0, within: null };

function lastPosition(request: FastifyRequest): Position | null {
  const header = request.headers['last-event-id'];
  return typeof header === 'string' && header !== '' ? (positionOf(header) ?? UNREADABLE) : null;
}

type Cause = 'slow' | 'unauthenticated' | 'stopping';

interface Writer {
  /** Sends the frames, or ends the stream if those before have not been taken yet. */
  write(frames: readonly (string | Buffer)[]): void;
  /** Resolves when more may be written: the client has read all pending frames, or is cut off because it has not. */
  drained(): Promise<void>;
  end(cause: Cause): void;
  /** Runs once, when the stream has ended for any reason. */
  onEnd(clean: () => void): void;
  readonly isOpen: boolean;
}

/** Takes the response over: from here on the stream's own rules hold. */
export function openWriter(
  request: FastifyRequest,
  reply: FastifyReply,
  deps: StreamDeps,
  open: Set<(cause: 'stopping') => void>,
): Writer {
  const cleaners: (() => void)[] = [];
  const closing = new AbortController();
  let isOpen = true;
  reply.hijack();
  const { raw } = reply;
  request.raw.socket.setTimeout(0);
  raw.writeHead(200, {
    ...originHeadersOf(reply),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });

  function close(): void {
    if (!isOpen) return;
    isOpen = false;
    closing.abort();
    open.delete(end);
    for (const clean of cleaners) clean();
  }
  function end(cause: Cause): void {
    if (!isOpen) return;
    deps.metrics.cutOff.inc({ cause });
    close();
    // A slow client would keep its buffer permanently.
    if (cause === 'slow') {
      raw.destroy();
      return;
    }
    raw.end();
    // A client that has stopped reading does not get the end, and would delay a stop.
    setTimeout(() => {
      raw.destroy();
    }, END_GRACE_MS).unref();
  }
  const writer: Writer = {
    get isOpen() {
      return isOpen;
    },
    write(frames) {
      if (!isOpen || frames.length === 0) return;
      if (raw.writableLength > deps.config.buffer_max_bytes) {
        end('slow');
        return;
      }
      raw.cork();
      for (const each of frames) raw.write(each);
      raw.uncork();
    },
    async drained() {
      if (!isOpen || !raw.writableNeedDrain) return;
      const deadline = setTimeout(() => {
        end('slow');
      }, DRAIN_MAX_MS);
      await once(raw, 'drain', { signal: closing.signal }).catch(() => undefined);
      clearTimeout(deadline);
    },
    end,
    onEnd(clean) {
      if (isOpen) cleaners.push(clean);
      else clean();
    },
  };
  raw.on('close', close);
  raw.on('error', close);
  open.add(end);
  writer.write([`retry: ${RETRY_MS}\n\n`]);
  const ping = setInterval(() => {
    writer.write([': ping\n\n']);
  }, PING_INTERVAL_MS);
  const recheck = setInterval(() => {
    deps.isStillAllowed(request).then(
      (allowed) => {
        if (!allowed) end('unauthenticated');
      },
      // An unknown result is no reason to end: the next check will show.
      () => undefined,
    );
  }, RECHECK_INTERVAL_MS);
  cleaners.push(() => {
    clearInterval(ping);
    clearInterval(recheck);
  });
  // A client that left while the stream was prepared does not signal again.
  if (raw.destroyed) close();
  return writer;
}

/** Sends the counters every few seconds, never with two questions at once. */
function startCounters(deps: StreamDeps, context: Context, writer: Writer): void {
  const gone = new AbortController();
  let isAsking = false;
  const send = async () => {
    if (isAsking) return;
    isAsking = true;
    try {
      const counters = await countersOf(deps, context.onlyUsers, gone, deps.now());
      writer.write([frame('counters', counters)]);
    } catch {
      // The next time is soon enough; the store counts the failure.
    } finally {
      isAsking = false;
    }
  };
  const timer = setInterval(() => void send(), deps.config.counters_interval_ms);
  writer.onEnd(() => {
    clearInterval(timer);
    gone.abort();
  });
  void send();
}
