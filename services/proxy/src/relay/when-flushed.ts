import type { Socket } from 'node:net';
import type { RelayEnd, RelayPair } from './relay.js';

const NOTHING = Buffer.alloc(0);

/** Calls back when the kernel has taken all earlier writes; with an error if it will not. */
function whenWritten(socket: Socket, then: () => void): void {
  if (socket.writableLength === 0 || socket.destroyed) then();
  else socket.write(NOTHING, then);
}

/** How a pair that is broken already ends; null if both sockets stand. */
function brokenEnd(pair: RelayPair): RelayEnd | null {
  for (const side of ['client', 'upstream'] as const) {
    const socket = pair[side];
    if (!socket.destroyed) continue;
    const error: (Error & { code?: unknown }) | null = socket.errored;
    const errorCode = typeof error?.code === 'string' ? error.code : null;
    return { reason: `${side}_reset`, errorCode };
  }
  return null;
}

/**
 * Continues as soon as the handshake's last bytes have left this process, for a socket can change
 * hands only then: at once, as a rule. A pair that breaks first, or is terminated, ends with
 * both sockets closed. `session.terminate` is set before this returns, by it or by `next`.
 */
export function whenFlushed(pair: RelayPair, next: () => Promise<RelayEnd>): Promise<RelayEnd> {
  const { client, upstream, session } = pair;
  const goOn = (): Promise<RelayEnd> => {
    const end = brokenEnd(pair);
    if (end === null) return next();
    for (const socket of [client, upstream]) socket.destroy();
    return Promise.resolve(end);
  };
  if (client.writableLength === 0 && upstream.writableLength === 0) return goOn();
  return new Promise((resolve) => {
    session.terminate = (reason, errorCode) => {
      session.terminate = null;
      for (const socket of [client, upstream]) socket.destroy();
      resolve({ reason, errorCode });
    };
    // Errors show as `destroyed`; without a listener they would end the process.
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    whenWritten(client, () => {
      whenWritten(upstream, () => {
        if (session.terminate === null) return;
        session.terminate = null;
        resolve(goOn());
      });
    });
  });
}
