import type { Socket } from 'node:net';
import type { CloseReason } from '@sockscope/schemas';
import { discardSocket, rewrap, rewrapShared, takeBuffered } from '../handle.js';
import type { RelayEnd, RelayPair, Side } from '../relay.js';
import type { Watched } from '../sweep.js';
import type { BufferPool } from './buffers.js';
import { Direction } from './direction.js';
import type { DirectionOwner } from './direction.js';
import type { ReadBudget } from './read-budget.js';

/**
 * How often a session may go from busy to quiet and give its buffers back. Each time leaves some
 * bytes in Node's handles until the session ends; after the last time it keeps its buffers.
 */
const MAX_QUIETINGS = 256;

/** Takes a session over that has moved much, or answers null and leaves it as it is. */
export interface Promotion {
  readonly afterBytes: number;
  promote(pair: Omit<RelayPair, 'head'>, firstEnded: Side | null): Promise<RelayEnd> | null;
}

export interface StreamSessionDeps {
  readonly pool: BufferPool;
  readonly budget: ReadBudget;
  readonly promotion: Promotion | null;
  /** 0 is never. */
  readonly keepaliveMs: number;
  /** The session is over, or has another owner. */
  readonly onEnd: (session: StreamSession, end: RelayEnd | Promise<RelayEnd>) => void;
}

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
export class StreamSession implements Watched, DirectionOwner {
  setIndex = 0;
  sweptProgress = 0;
  sweptHalfClosed = false;
  movedAtMs = 0;
  readonly #pair: RelayPair;
  readonly #deps: StreamSessionDeps;
  readonly #up: Direction;
  readonly #down: Direction;
  #client: Socket;
  #upstream: Socket;
  /** The buffer of a busy direction. */
  #upBuffer: Buffer | null = null;
  #downBuffer: Buffer | null = null;
  #quietings = 0;
  #isKeptAlive = false;
  #promotion: Promotion | null;
  #firstEnded: Side | null = null;
  /** The error of a side after its own orderly end. */
  #lateErrorCode: string | null = null;
  #over = false;

  constructor(pair: RelayPair, deps: StreamSessionDeps) {
    this.#pair = pair;
    this.#deps = deps;
    this.#client = pair.client;
    this.#upstream = pair.upstream;
    this.#promotion = deps.promotion;
    this.#up = new Direction(this, deps.budget, pair.client, pair.upstream);
    this.#down = new Direction(this, deps.budget, pair.upstream, pair.client);
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
    this.#listen(this.#client, 'client');
    this.#listen(this.#upstream, 'upstream');
    const fromUpstream = takeBuffered(this.#upstream);
    this.#up.start(takeBuffered(this.#client, head));
    if (!this.#over) this.#down.start(fromUpstream);
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
    this.#keepAlive();
    this.#up.probeSource();
    this.#down.probeSource();
    if (this.#upBuffer === null && this.#downBuffer === null) return;
    if (this.#quietings >= MAX_QUIETINGS) return;
    this.#quietings += 1;
    if (this.#upBuffer !== null && this.#swap(this.#up, rewrapShared)) {
      this.#deps.pool.give(this.#upBuffer);
      this.#upBuffer = null;
    }
    if (this.#downBuffer !== null && this.#swap(this.#down, rewrapShared)) {
      this.#deps.pool.give(this.#downBuffer);
      this.#downBuffer = null;
    }
  }

  /** Not at the start: most sessions end before it would matter. */
  #keepAlive(): void {
    if (this.#isKeptAlive) return;
    this.#isKeptAlive = true;
    const { keepaliveMs } = this.#deps;
    if (keepaliveMs === 0) return;
    for (const socket of [this.#client, this.#upstream]) socket.setKeepAlive(true, keepaliveMs);
  }

  expire(reason: 'idle_timeout' | 'half_close_timeout'): void {
    this.#end({ reason, errorCode: null }, false);
  }

  packet(direction: Direction): void {
    const { session } = this.#pair;
    if (direction === this.#up) session.packetsSent += 1;
    else session.packetsReceived += 1;
  }

  delivered(direction: Direction, bytes: number): void {
    const { session } = this.#pair;
    if (direction === this.#up) session.bytesSent += bytes;
    else session.bytesReceived += bytes;
    const promotion = this.#promotion;
    if (
      promotion !== null &&
      session.bytesSent + session.bytesReceived >= promotion.afterBytes &&
      this.#up.resting &&
      this.#down.resting &&
      this.#lateErrorCode === null
    ) {
      this.#promote(promotion);
    }
  }

  busy(direction: Direction): void {
    if (this.#promotion !== null || this.#bufferOf(direction) !== null) return;
    // Not from within the read that reported it.
    process.nextTick(() => {
      this.#giveBuffer(direction);
    });
  }

  sourceEnded(direction: Direction): void {
    this.#firstEnded ??= direction === this.#up ? 'client' : 'upstream';
  }

  isLast(direction: Direction): boolean {
    const other = direction === this.#up ? this.#down : this.#up;
    return other.sourceEnded && other.finished;
  }

  changed(): void {
    const { sourceEnded: clientEnded, finished: upFinished } = this.#up;
    const { sourceEnded: upstreamEnded, finished: downFinished } = this.#down;
    if (!clientEnded || !upstreamEnded || !upFinished || !downFinished) return;
    const reason: CloseReason = this.#firstEnded === 'upstream' ? 'upstream_eof' : 'client_eof';
    this.#end({ reason, errorCode: this.#lateErrorCode }, true);
  }

  #bufferOf(direction: Direction): Buffer | null {
    return direction === this.#up ? this.#upBuffer : this.#downBuffer;
  }

  #giveBuffer(direction: Direction): void {
    if (this.#bufferOf(direction) !== null) return;
    const buffer = this.#deps.pool.take();
    if (!this.#swap(direction, (socket) => rewrap(socket, buffer, direction.onOwnRead))) {
      this.#deps.pool.give(buffer);
    } else if (direction === this.#up) this.#upBuffer = buffer;
    else this.#downBuffer = buffer;
  }

  /**
   * Puts another object of the same connection in a source's place. False if that is impossible.
   */
  #swap(direction: Direction, make: (socket: Socket) => Socket | null): boolean {
    const { source } = direction;
    if (this.#over || direction.sourceEnded || source.writableEnded || !direction.resting) {
      return false;
    }
    const socket = make(source);
    if (socket === null) return false;
    if (direction === this.#up) {
      this.#client = socket;
      this.#listen(socket, 'client');
      this.#down.replaceSink(socket);
    } else {
      this.#upstream = socket;
      this.#listen(socket, 'upstream');
      this.#up.replaceSink(socket);
    }
    direction.replaceSource(socket);
    return true;
  }

  #listen(socket: Socket, side: Side): void {
    socket.on('error', (error) => {
      this.#broke(side, codeOf(error));
    });
  }

  #promote(promotion: Promotion): void {
    const { session } = this.#pair;
    const [client, upstream] = [this.#client, this.#upstream];
    for (const socket of [client, upstream]) socket.setNoDelay(true);
    this.#keepAlive();
    const end = promotion.promote({ session, client, upstream }, this.#firstEnded);
    if (end === null) {
      this.#promotion = null;
      return;
    }
    this.#over = true;
    for (const socket of [client, upstream]) discardSocket(socket);
    this.#giveBuffersBack();
    this.#deps.onEnd(this, end);
  }

  #broke(side: Side, errorCode: string): void {
    if (this.#over) return;
    const from = side === 'client' ? this.#up : this.#down;
    const to = side === 'client' ? this.#down : this.#up;
    if (!from.sourceEnded) {
      this.#end({ reason: `${side}_reset`, errorCode }, false);
      return;
    }
    // It had ended in order before. Its bytes still reach the other side.
    if (!to.finished) this.#lateErrorCode = errorCode;
    to.discard();
  }

  #end(end: RelayEnd, orderly: boolean): void {
    if (this.#over) return;
    const { session } = this.#pair;
    session.refreshCounters?.();
    if (this.#over) return;
    this.#over = true;
    this.#giveBuffersBack();
    session.terminate = null;
    session.refreshCounters = null;
    for (const socket of [this.#client, this.#upstream]) {
      if (orderly) socket.destroy();
      else abort(socket);
    }
    this.#deps.onEnd(this, end);
  }

  /** Bytes that still wait in one are dropped with its socket, whose memory keeps the buffer alive. */
  #giveBuffersBack(): void {
    for (const [buffer, direction] of [
      [this.#upBuffer, this.#up],
      [this.#downBuffer, this.#down],
    ] as const) {
      if (buffer !== null && direction.resting) this.#deps.pool.give(buffer);
    }
    this.#upBuffer = null;
    this.#downBuffer = null;
  }
}
