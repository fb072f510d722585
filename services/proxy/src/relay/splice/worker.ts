import { parentPort, workerData } from 'node:worker_threads';
import { SpliceEngine } from './engine.js';
import { loadLibc } from './libc.js';
import type { PipePoolConfig } from './pipe-pool.js';
import type { SharedMemory } from './shared.js';

/** The start message of a splice thread. */
export interface SpliceWorkerData {
  readonly memory: SharedMemory;
  readonly wakeFd: number;
  readonly notifyFd: number;
  readonly pipes: PipePoolConfig;
}

const { memory, wakeFd, notifyFd, pipes } = workerData as SpliceWorkerData;
const libc = loadLibc();
const byte = Buffer.alloc(1);
const byteAddress = libc.addressOf(byte);
const engine = new SpliceEngine({
  libc,
  memory,
  wakeFd,
  notify: () => {
    libc.write(notifyFd, byteAddress, 1);
  },
  pipes,
});
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
parentPort?.postMessage('ready');
// Blocks until the main thread asks it to stop: this thread has no event loop of Node's.
engine.run();
