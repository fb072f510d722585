import cluster from 'node:cluster';
import type { FromWorker, ToWorker } from './messages.js';
import type { PrimaryPort } from './link.js';
import type { ForkWorker } from './pool.js';

/** The variable with a worker's index. */
const INDEX_ENV = 'SOCKSCOPE_PROXY_WORKER';

/** The number of this worker, counting from 1; null in a process that is none. */
export function workerIndex(): number | null {
  if (!cluster.isWorker) return null;
  const index = Number(process.env[INDEX_ENV]);
  return Number.isInteger(index) && index > 0 ? index : null;
}

/**
 * Workers by node:cluster: the primary accepts and hands connections out in turn, so that long
 * sessions are spread evenly, which sharing the listening socket does not do.
 */
export const forkClusterWorker: ForkWorker = (index, events) => {
  cluster.schedulingPolicy = cluster.SCHED_RR;
  const worker = cluster.fork({ [INDEX_ENV]: String(index) });
  worker.on('message', (message: FromWorker) => {
    events.message(message);
  });
  worker.on('error', () => {
    // The worker is just ending; `exit` follows.
  });
  let isGone = false;
  worker.on('exit', (code: number | null, signal: string | null) => {
    if (isGone) return;
    isGone = true;
    events.exit(code, signal);
  });
  return {
    pid: worker.process.pid,
    send(message) {
      if (worker.isConnected()) worker.send(message);
    },
    kill() {
      worker.process.kill('SIGKILL');
    },
  };
};

/** Ends the remaining workers when the primary exits: a hanging worker does not notice the exit. */
export function killWorkers(): void {
  for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL');
}

/** A worker's way to its primary. A primary that dies takes its workers with it: node:cluster ends them. */
export const primaryPort: PrimaryPort = {
  send(message) {
    if (process.connected) process.send?.(message);
  },
  onMessage(listener) {
    process.on('message', (message: ToWorker) => {
      listener(message);
    });
  },
};
