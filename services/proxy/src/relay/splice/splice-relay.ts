import { messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import { handleOf } from '../handle.js';
import type { Relay, RelayEnd, RelayLimits } from '../relay.js';
import { createStreams } from '../stream/stream-relay.js';
import { createSweep } from '../sweep.js';
import { LINUX } from './libc.js';
import type { Libc } from './libc.js';
import type { PipePoolConfig } from './pipe-pool.js';
import type { PipeCounts } from './shared.js';
import { SpliceThread, WORKER_URL } from './thread.js';

export interface SpliceConfig extends PipePoolConfig {
  /** A session that has moved this much is handed to the kernel. */
  readonly after_bytes: number;
  /** Each moves a share of the sessions, and can use a processor of its own. */
  readonly threads: number;
}

export interface SpliceRelayDeps {
  readonly libc: Libc;
  readonly logger: Logger;
  readonly workerUrl?: URL;
}

export interface SpliceRelay extends Relay {
  /** The running threads; without any, sessions stay in this process. */
  readonly threads: number;
  /** The sessions that the kernel moves. */
  readonly sessions: number;
  readonly pipes: PipeCounts;
}

/**
 * The relay on Linux: a session that moves much is handed to a thread that moves bytes from socket
 * to socket inside the kernel. Until then it runs as with the stream relay, for handing over costs
 * more than a small session does. Connections are handed over as duplicated descriptors, and
 * Node's sockets are destroyed.
 */
export function createSpliceRelay(
  config: RelayLimits & { readonly splice: SpliceConfig },
  deps: SpliceRelayDeps,
): SpliceRelay {
  const { libc, logger } = deps;
  const sweep = createSweep(config);
  const { pipe_bytes, max_pipes } = config.splice;
  const threads = Array.from(
    { length: config.splice.threads },
    () =>
      new SpliceThread({
        libc,
        pipes: { pipe_bytes, max_pipes: Math.ceil(max_pipes / config.splice.threads) },
        workerUrl: deps.workerUrl ?? WORKER_URL,
        onOpen: (watched) => {
          sweep.add(watched);
        },
        onEnd: (watched) => {
          sweep.delete(watched);
        },
        onDeath: (error) => {
          logger.error({ err: error }, 'a splice thread died; its sessions are lost');
        },
      }),
  );

  /** The thread with the fewest sessions; null if none runs. */
  const idlest = (): SpliceThread | null => {
    let best: SpliceThread | null = null;
    for (const thread of threads) {
      if (thread.running && (best === null || thread.count < best.count)) best = thread;
    }
    return best;
  };

  const run = createStreams(sweep, config.keepalive_ms, {
    afterBytes: config.splice.after_bytes,
    promote({ session, client, upstream }, firstEnded) {
      const thread = idlest();
      if (thread === null) return null;
      const handles = [handleOf(client), handleOf(upstream)];
      const fds: number[] = [];
      for (const handle of handles) {
        // From here on nothing may be read by Node: new bytes wait in the kernel.
        handle?.readStop();
        fds.push(handle === null ? -1 : libc.fcntl(handle.fd, LINUX.F_DUPFD_CLOEXEC, 0));
      }
      const [clientFd = -1, upstreamFd = -1] = fds;
      let end: Promise<RelayEnd> | null = null;
      if (clientFd >= 0 && upstreamFd >= 0) {
        end = thread.open(session, { client: clientFd, upstream: upstreamFd }, firstEnded);
      }
      if (end === null) {
        for (const fd of fds) if (fd >= 0) libc.close(fd);
        for (const socket of [client, upstream]) socket.pause().resume();
      }
      return end;
    },
  });

  let isWithoutThreads = false;

  return {
    get name() {
      return isWithoutThreads ? 'stream' : 'splice';
    },
    get descriptors() {
      return 2 * threads.reduce((sum, { pipes }) => sum + pipes.open, 0);
    },
    maxDescriptors: 2 * max_pipes,
    get threads() {
      return threads.filter(({ running }) => running).length;
    },
    get sessions() {
      return threads.reduce((sum, { count }) => sum + count, 0);
    },
    get pipes() {
      const counts = threads.map(({ pipes }) => pipes);
      return {
        open: counts.reduce((sum, { open }) => sum + open, 0),
        busy: counts.reduce((sum, { busy }) => sum + busy, 0),
        shortages: counts.reduce((sum, { shortages }) => sum + shortages, 0),
      };
    },
    async start() {
      sweep.start();
      try {
        await Promise.all(threads.map((thread) => thread.start()));
      } catch (error) {
        isWithoutThreads = threads.every(({ running }) => !running);
        logger.warn(
          { reason: messageOf(error) },
          isWithoutThreads
            ? 'splice threads do not start, so the relay is stream'
            : 'some splice threads did not start; the others do all the work',
        );
      }
    },
    run,
    async stop() {
      sweep.stop();
      await Promise.all(threads.map((thread) => thread.stop()));
    },
  };
}
