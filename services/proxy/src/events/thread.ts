import { Worker } from 'node:worker_threads';
import type { FromBackend, StartBackend } from './messages.js';

/** Starts the publishing side in a thread. Its death by an exception is an uncaught one of this process. */
export const startThread: StartBackend = (config, receive) => {
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: config,
    name: 'events',
  });
  worker.on('message', (message: FromBackend) => {
    receive(message);
  });
  worker.on('error', (error) => {
    throw error;
  });
  // Callers that wait for its end get it.
  worker.on('exit', () => {
    receive({ kind: 'stopped' });
  });
  return {
    post(message) {
      worker.postMessage(message, []);
    },
    terminate() {
      void worker.terminate();
    },
  };
};
