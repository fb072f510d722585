/** Entry of the publishing thread. */
import { parentPort, workerData } from 'node:worker_threads';
import { startBackend } from './backend.js';
import type { BackendConfig, FromBackend, ToBackend } from './messages.js';

if (parentPort === null) throw new Error('this is the entry of a worker thread');
const port = parentPort;
const receive = startBackend(workerData as BackendConfig, {
  send: (message: FromBackend) => {
    port.postMessage(message);
  },
});
port.on('message', (message: ToBackend) => {
  receive(message);
});
