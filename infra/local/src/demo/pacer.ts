import type { Socket } from 'node:net';

const TICK_MS = 200;
const CHUNK = Buffer.alloc(256 * 1024, 'sockscope demo ');
/** A peer that does not read gets no more until it does. */
const UNSENT_MAX_BYTES = 1024 * 1024;

/** Writes `bytes` evenly within `durationMs`, or more slowly if the peer reads more slowly. Ends with the socket. */
export function createPacer(
  socket: Socket,
  order: { readonly bytes: number; readonly durationMs: number; readonly onDone: () => void },
): void {
  const began = performance.now();
  let sent = 0;
  function tick(): void {
    const part = Math.min(1, (performance.now() - began + 1) / (order.durationMs + 1));
    let due = Math.floor(order.bytes * part) - sent;
    while (due > 0 && socket.writableLength < UNSENT_MAX_BYTES) {
      const chunk = CHUNK.subarray(0, Math.min(due, CHUNK.length));
      socket.write(chunk);
      sent += chunk.length;
      due -= chunk.length;
    }
    if (part === 1 && sent >= order.bytes) {
      clearInterval(timer);
      order.onDone();
    }
  }
  const timer = setInterval(tick, Math.min(TICK_MS, Math.max(1, order.durationMs)));
  socket.once('close', () => {
    clearInterval(timer);
  });
}
