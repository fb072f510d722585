import { Socket } from 'node:net';

/**
 * The part of Node's TCP handle that relays use. It is undocumented, so that `takeHandle`
 * checks for every member and callers have another way where it answers null.
 */
export interface TcpHandle {
  readonly fd: number;
  /** Bytes that the kernel has not taken yet. */
  readonly writeQueueSize: number;
  readStop(): number;
  close(): void;
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
    typeof value.readStop === 'function' &&
    'close' in value &&
    typeof value.close === 'function'
  );
}

/** The handle of a connected TCP socket, or null where there is none as we know it. */
export function handleOf(socket: Socket): TcpHandle | null {
  const handle: unknown = Reflect.get(socket, '_handle');
  return isTcpHandle(handle) ? handle : null;
}

/** Everything that was read from the kernel and not taken by anyone yet; null where nothing was. */
export function takeBuffered(socket: Socket, head: Buffer | null = null): Buffer | null {
  const parts: Buffer[] = head === null || head.length === 0 ? [] : [head];
  for (;;) {
    const chunk: unknown = socket.read();
    if (!Buffer.isBuffer(chunk)) break;
    parts.push(chunk);
  }
  return parts.length === 0 ? null : parts.length === 1 ? (parts[0] ?? null) : Buffer.concat(parts);
}

/** Called for each read; false stops reading until `resume()`. */
export type OnRead = (length: number, buffer: Uint8Array) => boolean;

/**
 * A socket over the same connection that reads into buffers of ours (`onread` is public only
 * for outgoing connections). The given object is destroyed, its connection goes on in the new
 * one, which does not read yet. Null where the handle is not as we know it; nothing was done then.
 * Nothing may be waiting to be written.
 */
export function rewrap(socket: Socket, buffer: () => Uint8Array, onRead: OnRead): Socket | null {
  const handle = handleOf(socket);
  if (handle === null || socket.destroyed || socket.writableLength > 0) return null;
  handle.readStop();
  Reflect.set(socket, '_handle', null);
  socket.removeAllListeners();
  socket.on('error', () => undefined);
  socket.destroy();
  const options = {
    handle,
    allowHalfOpen: true,
    pauseOnCreate: true,
    readable: true,
    writable: true,
    onread: { buffer, callback: onRead },
  };
  return new Socket(options);
}
