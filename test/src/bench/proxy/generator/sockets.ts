import { connect, Socket } from 'node:net';
import type { Via } from './protocol.js';

/** Everything read ends here and is looked at by nobody. */
const DISCARD = Buffer.allocUnsafeSlow(256 * 1024);
const GREETING = Buffer.from([5, 1, 0]);
const METHOD_REPLY_BYTES = 2;
const REPLY_BYTES = 10;
const HANDSHAKE_TIMEOUT_MS = 20_000;

/** How a connection's reads are consumed after the handshake. */
export type Reader = (bytes: number) => void;

export interface Opened {
  readonly socket: Socket;
  /** Replaces the reader. */
  onBytes: Reader;
}

/**
 * A connection to `127.0.0.1:port`, through the proxy if there is one. It waits for the method
 * before it sends the request, as clients do. Reads go into one buffer that all share.
 */
export function open(via: Via, port: number, localAddress?: string): Promise<Opened> {
  return new Promise((resolve, reject) => {
    let expected = via === null ? 0 : METHOD_REPLY_BYTES;
    let phase: 'method' | 'reply' | 'open' = via === null ? 'open' : 'method';
    const request = Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]);
    const finish = (): void => {
      socket.setTimeout(0);
      socket.off('error', reject);
      resolve(opened);
    };
    const socket = connect({
      host: via?.host ?? '127.0.0.1',
      port: via?.port ?? port,
      ...(localAddress === undefined ? {} : { localAddress }),
      noDelay: true,
      onread: {
        buffer: DISCARD,
        callback(bytes, buffer) {
          if (phase === 'open') {
            opened.onBytes(bytes);
            return true;
          }
          if (phase === 'reply' && expected === REPLY_BYTES && buffer[1] !== 0) {
            socket.destroy(new Error(`reply ${buffer[1]}`));
            return true;
          }
          expected -= bytes;
          if (expected > 0) return true;
          if (phase === 'method') {
            phase = 'reply';
            expected = REPLY_BYTES;
            socket.write(request);
          } else {
            phase = 'open';
            // Bytes behind the reply are the destination's.
            if (expected < 0) opened.onBytes(-expected);
            finish();
          }
          return true;
        },
      },
    });
    const opened: Opened = { socket, onBytes: () => undefined };
    socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => {
      socket.destroy(new Error('the handshake took too long'));
    });
    socket.once('error', reject);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      reject(new Error('closed during the handshake'));
    });
    socket.once('connect', () => {
      if (via === null) finish();
      else socket.write(GREETING);
    });
  });
}

/** An accepted socket that reads into the shared buffer: `onread` is public for outgoing ones alone. */
export function discardReads(accepted: Socket, onBytes: Reader): Socket {
  const handle: unknown = Reflect.get(accepted, '_handle');
  Reflect.set(accepted, '_handle', null);
  const options = {
    handle,
    readable: true,
    onread: {
      buffer: DISCARD,
      callback: (bytes: number) => {
        onBytes(bytes);
        return true;
      },
    },
  };
  const socket = new Socket(options);
  socket.on('error', () => undefined);
  return socket;
}

const CHUNK = Buffer.alloc(128 * 1024, 0x61);

/** Sends without end, as fast as the other side takes it. */
export function sendForEver(socket: Socket): void {
  const next = (error?: Error | null): void => {
    if (error instanceof Error || socket.destroyed) return;
    socket.write(CHUNK, next);
  };
  next();
  next();
}
