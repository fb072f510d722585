import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** A port whose connections never come to be: the SYN is dropped, as by a firewall. */
export interface SilentServer {
  readonly host: string;
  readonly port: number;
  stop(): void;
}

const SCRIPT = `
  const server = require('node:net').createServer();
  server.listen({ host: process.argv[1], port: 0, backlog: 1 }, () => {
    process.send(server.address().port);
  });
`;
const FILL_MS = 150;

/** Stops a process that listens, and fills its backlog: the kernel answers no SYN above it. */
export async function startSilentServer(host = '127.0.0.1'): Promise<SilentServer> {
  const child = spawn(process.execPath, ['-e', SCRIPT, host], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [port] = (await once(child, 'message')) as [number];
  child.kill('SIGSTOP');
  const sockets: Socket[] = [];
  for (let isFull = false; !isFull;) {
    const socket = connect(port, host);
    socket.on('error', () => undefined);
    sockets.push(socket);
    isFull = await new Promise((resolve) => {
      const timer = setTimeout(() => {
        // On a busy machine the timer is due before a connection is seen that was made long ago.
        setImmediate(() => {
          resolve(socket.connecting);
        });
      }, FILL_MS);
      socket.once('connect', () => {
        clearTimeout(timer);
        resolve(false);
      });
    });
  }
  return {
    host,
    port,
    stop() {
      for (const socket of sockets) socket.destroy();
      child.kill('SIGKILL');
    },
  };
}
