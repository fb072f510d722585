import { connect, type Socket } from 'node:net';
import { PASSWORD } from './cast.js';
import { orderLine } from './origins.js';
import { createPacer } from './pacer.js';
import type { Plan } from './plan.js';

/** Time beyond a connection's planned duration after which a silent connection is cut. */
const SPARE_MS = 60_000;

/**
 * Makes a plan happen: a SOCKS5 client at the plan's source, which sends and receives the planned bytes.
 * Resolves when the connection has ended, however it did.
 */
export function runPlan(
  plan: Plan,
  proxy: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ ...proxy, localAddress: plan.source });
    const end = (): void => {
      socket.destroy();
    };
    socket.setTimeout(plan.volume.durationMs + SPARE_MS, end);
    signal.addEventListener('abort', end);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      signal.removeEventListener('abort', end);
      resolve();
    });
    socket.on('connect', () => {
      converse(socket, plan);
    });
  });
}

/** RFC 1928 and 1929: the messages of a client, each with the length of its answer. */
function handshake({
  user,
  host,
  port,
}: Plan): { readonly send: Buffer; readonly expect: number }[] {
  const request = Buffer.concat([
    Buffer.from([5, 1, 0, 3]),
    sized(host),
    Buffer.from([port >> 8, port & 255]),
  ]);
  const login =
    user === null
      ? []
      : [{ send: Buffer.concat([Buffer.from([1]), sized(user), sized(PASSWORD)]), expect: 2 }];
  return [
    { send: Buffer.from([5, 1, user === null ? 0 : 2]), expect: 2 },
    ...login,
    { send: request, expect: 10 },
  ];
}

function sized(text: string): Buffer {
  return Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
}

function converse(socket: Socket, plan: Plan): void {
  const steps = handshake(plan);
  let got = Buffer.alloc(0);
  let step = steps.shift();
  if (step !== undefined) socket.write(step.send);
  socket.on('data', function answer(chunk: Buffer) {
    got = Buffer.concat([got, chunk]);
    if (step === undefined || got.length < step.expect) return;
    // In the answers to a login and to a request, the second byte is 0; in the first answer, it is the method.
    if (got[1] === 255 || (steps.length === 0 && got[1] !== 0)) {
      socket.destroy();
      return;
    }
    got = got.subarray(step.expect);
    step = steps.shift();
    if (step !== undefined) {
      socket.write(step.send);
      return;
    }
    socket.off('data', answer);
    use(socket, plan);
  });
}

function use(socket: Socket, { host, endedBy, volume }: Plan): void {
  const { sent, received, durationMs } = volume;
  const head = `${orderLine(received, durationMs, endedBy)}Host: ${host}\r\n\r\n`;
  socket.write(head);
  socket.resume();
  createPacer(socket, {
    bytes: Math.max(0, sent - head.length),
    durationMs,
    onDone: () => {
      if (endedBy === 'client') endWhenReceived(socket, received);
    },
  });
}

/** Ends the client's side once all has come that was ordered. */
function endWhenReceived(socket: Socket, bytes: number): void {
  const look = (): void => {
    if (socket.bytesRead >= bytes) socket.end();
  };
  socket.on('data', look);
  look();
}
