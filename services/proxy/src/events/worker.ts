/**
 * Entry of the publishing thread. Traffic goes first: on a machine that has no time for both, events
 * wait in the spool. On Linux a priority is a thread's own; elsewhere it would be the whole process's.
 */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { startBackend } from './backend.js';
import type { BackendConfig, FromBackend, ToBackend } from './messages.js';

/** Niceness between the thread of the traffic and the other processes of `npm start`. */
const NICENESS = 5;

if (parentPort === null) throw new Error('this is the entry of a worker thread');
const port = parentPort;
if (process.platform === 'linux') setPriority(0, NICENESS);
const receive = startBackend(workerData as BackendConfig, {
  send: (message: FromBackend) => {
    port.postMessage(message);
  },
});
port.on('message', (message: ToBackend) => {
  receive(message);
});
