import { Socket } from 'node:net';
import type { Server } from 'node:net';

/** The present reader of a socket. */
export interface SocketReader {
  /**
   * Takes bytes that were read. `bytes` may be a view of a buffer that the next read of any socket
   * overwrites: copy the bytes that you keep.
   *
   * @returns false to stop reading; `socket.resume()` continues.
   */
  onBytes(bytes: Buffer): boolean;
}

/** The present listener of a socket's events. Reading is separate, because a relay takes only that. */
export interface SocketOwner {
  onConnect(socket: Socket): void;
  onError(socket: Socket, error: NodeJS.ErrnoException): void;
  onEnd(): void;
  onClose(): void;
}

const SHARED_BYTES = 64 * 1024;
const shared = Buffer.allocUnsafeSlow(SHARED_BYTES);

function onRead(this: TapSocket, length: number): boolean {
  const bytes = shared.subarray(0, length);
  if (this.reader !== null) return this.reader.onBytes(bytes);
  // Between two readers: it waits where `socket.read()` finds it, and must not flow away.
  this.pause();
  this.push(Buffer.from(bytes));
  return false;
}

/**
 * Node copies options by `{ ...options }` and sets some fields of the copy. It has them all from the start here, with
 * the values that Node sets: otherwise V8 makes each copy with a hidden class of its own, which costs more
 * than all the rest of a socket, and keeps it alive until a full garbage collection (docs/adr/0011).
 */
function createOptions() {
  return {
    allowHalfOpen: true,
    emitClose: false,
    autoDestroy: true,
    decodeStrings: false,
    handle: null as object | null,
    // Called as a method of its socket, so one function and one object serve all of them.
    onread: { buffer: shared, callback: onRead },
  };
}

const CONNECT_OPTIONS = createOptions();
/** Has the handle of the socket that is being made: Node copies the options at once. */
const HANDLE_OPTIONS = createOptions();

function withHandle(handle: object): typeof HANDLE_OPTIONS {
  HANDLE_OPTIONS.handle = handle;
  return HANDLE_OPTIONS;
}

/**
 * A socket whose reads go into one buffer that all such sockets share, instead of 64 KiB allocated
 * for every read: the reader takes the bytes before the next socket is read.
 *
 * None has TCP_NODELAY by itself: accepted ones have their listener's, and a relay sets it if a
 * write could be delayed.
 *
 * All of them have the same fields from the start, and share their listeners, so that V8 sees one
 * shape of socket.
 */
export class TapSocket extends Socket {
  reader: SocketReader | null = null;
  owner: SocketOwner | null = null;

  /** @param handle of a connection that stands, which is read from at once; none for one to be made. */
  constructor(handle: object | null = null) {
    super(handle === null ? CONNECT_OPTIONS : withHandle(handle));
  }
}

/** A socket that was made elsewhere, with an owner. */
export interface PlainSocket extends Socket {
  owner?: SocketOwner | null;
}

/** Has a socket that was made elsewhere read by `reader`, in the public way. */
export function readPlain(socket: Socket, reader: SocketReader): void {
  socket.on('data', (bytes: Buffer) => {
    if (!reader.onBytes(bytes)) socket.pause();
  });
}

/** Ends the reading that `readPlain` began. */
export function stopReadingPlain(socket: Socket): void {
  socket.pause();
  socket.removeAllListeners('data');
}

// One function for all sockets: a closure per connection would cost time and memory. They stay
// when the owner has gone: taking a listener off costs more than calling it once in vain.
function onConnect(this: PlainSocket): void {
  this.owner?.onConnect(this);
}

function onError(this: PlainSocket, error: NodeJS.ErrnoException): void {
  // Without a listener the error would end the process.
  this.owner?.onError(this, error);
}

function onEnd(this: PlainSocket): void {
  this.owner?.onEnd();
}

function onClose(this: PlainSocket): void {
  this.owner?.onClose();
}

/** Reports end, error and closing of an accepted socket to its owner. */
export function listenAsAccepted(socket: PlainSocket, owner: SocketOwner): void {
  socket.owner = owner;
  socket.on('error', onError);
  socket.on('end', onEnd);
  socket.on('close', onClose);
}

/** Reports success or failure of a connecting socket to its owner. */
export function listenAsConnecting(socket: TapSocket, owner: SocketOwner): void {
  socket.owner = owner;
  socket.on('connect', onConnect);
  socket.on('error', onError);
}

/** The part of a listening or accepted socket's handle that is used here. */
interface TcpHandle {
  /** @returns 0, or a negative errno. */
  setNoDelay(on: boolean): number;
}

type OnConnection = (error: unknown, handle: unknown) => void;

function isTcpHandle(value: unknown): value is TcpHandle {
  return typeof value === 'object' && value !== null && 'setNoDelay' in value;
}

/**
 * Has a listening server make its sockets as `TapSocket`. `node:net` has no option for it, so this
 * code sits between the server and its handle, which Node does not document. If the handle has
 * another form, nothing is changed, and the server's `connection` event brings plain sockets.
 *
 * @returns whether it is done.
 */
export function acceptAsTaps(server: Server, onSocket: (socket: TapSocket) => void): boolean {
  const handle: unknown = Reflect.get(server, '_handle');
  if (typeof handle !== 'object' || handle === null) return false;
  const original: unknown = Reflect.get(handle, 'onconnection');
  if (typeof original !== 'function') return false;
  // On Linux accepted sockets inherit a listening socket's TCP_NODELAY: a call less for each.
  const isInherited =
    process.platform === 'linux' && isTcpHandle(handle) && handle.setNoDelay(true) === 0;
  const onConnection: OnConnection = (error, accepted) => {
    // 0 or nothing is no error.
    if (Boolean(error) || !isTcpHandle(accepted)) {
      Reflect.apply(original, handle, [error, accepted]);
      return;
    }
    if (!isInherited) accepted.setNoDelay(true);
    onSocket(new TapSocket(accepted));
  };
  return Reflect.set(handle, 'onconnection', onConnection);
}
