import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { ListenAddress, Logger } from '@sockscope/runtime';
import { createLogLimiter } from '@sockscope/runtime';
import { Connection } from '../connection/connection.js';
import type { ConnectionContext } from '../connection/connection.js';
import type { ListenerConfig } from './config.js';

export interface Listener {
  /** Resolves to the address that it listens on. */
  start(): Promise<ListenAddress>;
  /** Accepts no more, and ends the handshakes under way. */
  stop(): Promise<void>;
}

/** Accepts clients and hands each to a connection of its own. */
export function createListener(
  config: ListenerConfig,
  deps: { readonly context: ConnectionContext; readonly logger: Logger },
): Listener {
  const { context, logger } = deps;
  const errorLog = createLogLimiter(10_000);
  let server: Server | null = null;

  function onConnection(socket: Socket): void {
    context.metrics.accepted += 1;
    new Connection(context, socket).begin();
  }

  return {
    start() {
      const created = createServer({ allowHalfOpen: true, noDelay: true }, onConnection);
      server = created;
      return new Promise((resolve, reject) => {
        created.once('error', reject);
        created.listen(
          { host: config.listen.host, port: config.listen.port, backlog: config.backlog },
          () => {
            created.off('error', reject);
            // Accepting may fail for want of descriptors; the listener goes on.
            created.on('error', (error) => {
              const heldBack = errorLog.pass();
              if (heldBack !== null) logger.error({ err: error, heldBack }, 'accepting failed');
            });
            resolve({
              host: config.listen.host,
              port: (created.address() as AddressInfo).port,
            });
          },
        );
      });
    },
    stop() {
      server?.close();
      server = null;
      for (const connection of context.open) connection.shutdown();
      return Promise.resolve();
    },
  };
}
