import type { Socket } from 'node:net';
import { messageOf } from '@sockscope/runtime';
import type { Logger } from '@sockscope/runtime';
import { handleOf, takeBuffered } from '../handle.js';
import type { Relay, RelayEnd, RelayLimits, RelayPair } from '../relay.js';
import { createSweep } from '../sweep.js';
import { takeOver } from '../take-over.js';
import { LINUX } from './libc.js';
import type { Libc } from './libc.js';
import type { PipePoolConfig } from './pipe-pool.js';
import type { PipeCounts } from './shared.js';
import { SpliceThread, WORKER_URL } from './thread.js';

export interface SpliceRelayDeps {
  readonly libc: Libc;
  readonly logger: Logger;
  /** Takes the sessions that cannot be handed to the kernel. */
  readonly fallback: Relay;
  readonly workerUrl?: URL;
}

export interface SpliceRelay extends Relay {
  /** Whether the thread lives; without it sessions take the fallback. */
  readonly running: boolean;
  /** Those that the kernel moves. */
  readonly sessions: number;
  readonly pipes: PipeCounts;
}

/**
 * The relay on Linux: after the handshake a thread of its own moves the bytes from socket to
 * socket inside the kernel. Connections are handed over as duplicated descriptors and Node's
 * sockets are destroyed at once, so that an idle session holds none.
 */
export function createSpliceRelay(
  config: RelayLimits & { readonly splice: PipePoolConfig },
  deps: SpliceRelayDeps,
): SpliceRelay {
  const { libc, logger, fallback } = deps;
  const sweep = createSweep(config);
  const thread = new SpliceThread({
    libc,
    pipes: config.splice,
    workerUrl: deps.workerUrl ?? WORKER_URL,
    onOpen: (watched) => {
      sweep.add(watched);
    },
    onEnd: (watched) => {
      sweep.delete(watched);
    },
    onDeath: (error) => {
      logger.error({ err: error }, 'the splice thread died; new sessions take the stream relay');
    },
  });

  /** The connection under a descriptor of our own, and Node's socket gone; -1 where that cannot be had. */
  const duplicate = (socket: Socket): number => {
    const handle = handleOf(socket);
    return handle === null ? -1 : libc.fcntl(handle.fd, LINUX.F_DUPFD_CLOEXEC, 0);
  };

  const handOver = (pair: RelayPair): Promise<RelayEnd> => {
    const { client, upstream, session } = pair;
    const clientFd = thread.running ? duplicate(client) : -1;
    const upstreamFd = clientFd < 0 ? -1 : duplicate(upstream);
    if (upstreamFd < 0) {
      if (clientFd >= 0) libc.close(clientFd);
      return fallback.run({ session, client, upstream, head: null });
    }
    for (const socket of [client, upstream]) {
      socket.removeAllListeners();
      socket.on('error', ignore);
      socket.destroy();
    }
    return new Promise((resolve) => {
      if (!thread.open(session, { client: clientFd, upstream: upstreamFd }, resolve)) {
        libc.close(clientFd);
        libc.close(upstreamFd);
        resolve({ reason: 'internal_error', errorCode: 'ENOSPC' });
      }
    });
  };

  /** Sends on what Node had read already. What comes from here on waits in the kernel. */
  const sendBuffered = (pair: RelayPair): Promise<RelayEnd> => {
    const { client, upstream, session } = pair;
    for (const socket of [client, upstream]) {
      socket.pause();
      handleOf(socket)?.readStop();
      socket.setNoDelay(true);
    }
    const fromClient = takeBuffered(client, pair.head);
    const fromUpstream = takeBuffered(upstream);
    if (fromClient === null && fromUpstream === null) return handOver(pair);
    if (fromClient !== null) {
      upstream.write(fromClient);
      session.packetsSent += 1;
    }
    if (fromUpstream !== null) {
      client.write(fromUpstream);
      session.packetsReceived += 1;
    }
    return takeOver(pair, () => {
      session.bytesSent += fromClient?.length ?? 0;
      session.bytesReceived += fromUpstream?.length ?? 0;
      return handOver(pair);
    });
  };

  return {
    name: 'splice',
    get running() {
      return thread.running;
    },
    get sessions() {
      return thread.count;
    },
    get pipes() {
      return thread.pipes;
    },
    async start() {
      sweep.start();
      await fallback.start();
      try {
        await thread.start();
      } catch (error) {
        logger.warn(
          { reason: messageOf(error) },
          'the splice thread does not start; sessions take the stream relay',
        );
      }
    },
    run: (pair) => takeOver(pair, () => sendBuffered(pair)),
    async stop() {
      sweep.stop();
      await thread.stop();
      await fallback.stop();
    },
  };
}

function ignore(): void {
  // The connection goes on elsewhere.
}
