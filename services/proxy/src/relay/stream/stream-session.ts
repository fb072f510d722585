import type { Socket } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import { rewrap, takeBuffered } from '../handle.js';
import type { RelayEnd, RelayPair } from '../relay.js';
import type { Watched } from '../sweep.js';
import type { BufferPool } from './buffers.js';
import { Direction } from './direction.js';

type Side = 'client' | 'upstream';

/** Destroys with RST, unless the end was already sent: libuv refuses to reset such a socket. */
function abort(socket: Socket): void {
  if (socket.destroyed) return;
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';
}

/** One session of the stream relay: two sockets, two directions, one end. */
export class StreamSession implements Watched {
  sweptProgress = 0;
  sweptHalfClosed = false;
  movedAtMs = 0;
  readonly #pair: RelayPair;
  readonly #onEnd: (end: RelayEnd) => void;
  readonly #up: Direction;
  readonly #down: Direction;
  #client: Socket;
  #upstream: Socket;
  #firstEnded: Side | null = null;
  /** What broke on a side after its own orderly end. */
  #lateErrorCode: string | null = null;
  #over = false;

  constructor(pair: RelayPair, pool: BufferPool, onEnd: (end: RelayEnd) => void) {
    this.#pair = pair;
    this.#onEnd = onEnd;
    this.#client = pair.client;
    this.#upstream = pair.upstream;
    const { session } = pair;
    this.#up = new Direction(pair.client, pair.upstream, pool, {
      delivered: (bytes) => {
        session.bytesSent += bytes;
      },
      packet: () => {
        session.packetsSent += 1;
      },
      sourceEnded: () => {
        this.#firstEnded ??= 'client';
      },
      changed: () => {
        this.#checkDone();
      },
    });
    this.#down = new Direction(pair.upstream, pair.client, pool, {
      delivered: (bytes) => {
        session.bytesReceived += bytes;
      },
      packet: () => {
        session.packetsReceived += 1;
      },
      sourceEnded: () => {
        this.#firstEnded ??= 'upstream';
      },
      changed: () => {
        this.#checkDone();
      },
    });
  }

  start(): void {
    const { session, head } = this.#pair;
    session.terminate = (reason, errorCode) => {
      this.#end({ reason, errorCode }, false);
    };
    session.refreshCounters = () => {
      this.#up.settle();
      this.#down.settle();
    };
    const fromClient = takeBuffered(this.#client, head);
    const fromUpstream = takeBuffered(this.#upstream);
    this.#client = this.#adopt(this.#client, this.#up, 'client');
    this.#upstream = this.#adopt(this.#upstream, this.#down, 'upstream');
    this.#up.start(this.#client, this.#upstream, fromClient);
    if (!this.#over) this.#down.start(this.#upstream, this.#client, fromUpstream);
  }

  progress(): number {
    const { session } = this.#pair;
    session.refreshCounters?.();
    return session.bytesSent + session.bytesReceived;
  }

  get halfClosed(): boolean {
    return this.#firstEnded !== null;
  }

  quiet(): void {
    const client = this.#up.quiet();
    if (client !== null) {
      this.#listen(client, 'client');
      this.#client = client;
      this.#down.replaceSink(client);
      this.#up.replaceSource(client);
    }
    const upstream = this.#down.quiet();
    if (upstream !== null) {
      this.#listen(upstream, 'upstream');
      this.#upstream = upstream;
      this.#up.replaceSink(upstream);
      this.#down.replaceSource(upstream);
    }
  }

  expire(reason: 'idle_timeout' | 'half_close_timeout'): void {
    this.#end({ reason, errorCode: null }, false);
  }

  /** The same connection as an object that reads into our buffers, or else the object itself. */
  #adopt(socket: Socket, reads: Direction, side: Side): Socket {
    const wrapped = rewrap(socket, reads.nextBuffer, reads.onRead);
    if (wrapped !== null) {
      this.#listen(wrapped, side);
      return wrapped;
    }
    socket.removeAllListeners('data').removeAllListeners('end').removeAllListeners('error');
    socket.allowHalfOpen = true;
    reads.readByEvents(socket);
    this.#listen(socket, side);
    return socket;
  }

  #listen(socket: Socket, side: Side): void {
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.#broke(side, codeOf(error));
    });
  }

  #broke(side: Side, errorCode: string): void {
    if (this.#over) return;
    const from = side === 'client' ? this.#up : this.#down;
    const to = side === 'client' ? this.#down : this.#up;
    if (!from.sourceEnded) {
      this.#end({ reason: `${side}_reset`, errorCode }, false);
      return;
    }
    // It had ended in order before. What it sent still reaches the other side.
    if (!to.finished) this.#lateErrorCode = errorCode;
    to.discard();
  }

  #checkDone(): void {
    const { sourceEnded: clientEnded, finished: upFinished } = this.#up;
    const { sourceEnded: upstreamEnded, finished: downFinished } = this.#down;
    if (!clientEnded || !upstreamEnded || !upFinished || !downFinished) return;
    const reason: CloseReason = this.#firstEnded === 'upstream' ? 'upstream_eof' : 'client_eof';
    this.#end({ reason, errorCode: this.#lateErrorCode }, true);
  }

  #end(end: RelayEnd, orderly: boolean): void {
    if (this.#over) return;
    this.#over = true;
    const { session } = this.#pair;
    this.#up.release();
    this.#down.release();
    session.terminate = null;
    session.refreshCounters = null;
    for (const socket of [this.#client, this.#upstream]) {
      if (orderly) socket.destroy();
      else abort(socket);
    }
    this.#onEnd(end);
  }
}
