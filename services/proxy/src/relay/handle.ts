import { Socket } from 'node:net';
import { TapSocket } from '../tcp/socket.js';

/**
 * The part of Node's TCP handle that relays use. It is undocumented, so that `handleOf` checks
 * for every member and callers have another way if it answers null.
 */
export interface TcpHandle {
  readonly fd: number;
  /** Bytes that the kernel has not taken yet. */
  readonly writeQueueSize: number;
  readStop(): number;
}

function isTcpHandle(value: unknown): value is TcpHandle {
  return (
    typeof value === 'object' &&
    value !== null &&
    value.constructor.name === 'TCP' &&
    'fd' in value &&
    typeof value.fd === 'number' &&
    'writeQueueSize' in value &&
    typeof value.writeQueueSize === 'number' &&
    'readStop' in value &&
    typeof value.readStop === 'function'
  );
}

/** Returns the handle of a connected TCP socket, or null if it has not the expected form. */
export function handleOf(socket: Socket): TcpHandle | null {
  const handle: unknown = Reflect.get(socket, '_handle');
  return isTcpHandle(handle) ? handle : null;
}

/**
 * Everything that was read from the kernel and not taken by anyone yet; null if there was nothing.
 */
export function takeBuffered(socket: Socket, head: Buffer | null = null): Buffer | null {
  const first = head === null || head.length === 0 ? null : head;
  if (socket.readableLength === 0) return first;
  const parts = first === null ? [] : [first];
  for (;;) {
    const chunk: unknown = socket.read();
    if (!Buffer.isBuffer(chunk)) break;
    parts.push(chunk);
  }
  return parts.length === 0 ? null : Buffer.concat(parts);
}

/** The connection of a socket that is not needed any more as an object; the connection continues. */
function detach(socket: Socket): TcpHandle | null {
  const handle = handleOf(socket);
  if (handle === null || socket.destroyed || socket.writableLength > 0) return null;
  handle.readStop();
  Reflect.set(socket, '_handle', null);
  discardSocket(socket);
  return handle;
}

/** Destroys the object without an event to its listeners. */
export function discardSocket(socket: Socket): void {
  if (socket instanceof TapSocket) socket.reader = null;
  socket.removeAllListeners();
  socket.on('error', ignore);
  socket.destroy();
}

function ignore(): void {
  // Nobody is left to notify.
}

/**
 * Another object for the same connection, which reads into a buffer of ours: `onread` is public
 * only for outgoing connections. The given object is destroyed. Null if the handle has another form
 * or data waits to be written; then nothing was done.
 *
 * @param onRead called for each read; false stops reading until `resume()`.
 */
export function rewrap(
  socket: Socket,
  buffer: Buffer,
  onRead: (length: number, buffer: Uint8Array) => boolean,
): Socket | null {
  const handle = detach(socket);
  if (handle === null) return null;
  const options = {
    handle,
    allowHalfOpen: true,
    pauseOnCreate: true,
    readable: true,
    onread: { buffer, callback: onRead },
  };
  return new Socket(options);
}

/** Back to the buffer that all share. The reader must be set before anything else happens. */
export function rewrapShared(socket: Socket): TapSocket | null {
  const handle = detach(socket);
  return handle === null ? null : new TapSocket(handle);
}
