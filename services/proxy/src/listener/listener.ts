import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { ListenAddress, Logger } from '@sockscope/runtime';
import { createLogLimiter } from '@sockscope/runtime';
import { parseIp, parsePrefix, prefixHas } from '@sockscope/schemas/net';
import { Connection } from '../connection/connection.js';
import type { ConnectionContext } from '../connection/connection.js';
import { acceptAsTaps, readPlain } from '../tcp/socket.js';
import type { TapSocket } from '../tcp/socket.js';
import type { ListenerConfig } from './config.js';

export interface Listener {
  /** Resolves to the address that it listens on. */
  start(): Promise<ListenAddress>;
  /** Accepts no more. */
  stop(): void;
}

/** Accepts clients and hands each to a connection of its own. */
export function createListener(
  config: ListenerConfig,
  deps: { readonly context: ConnectionContext; readonly logger: Logger },
): Listener {
  const { context, logger } = deps;
  const errorLog = createLogLimiter(10_000);
  let server: Server | null = null;

  const balancers = config.proxy_protocol_from.flatMap((text) => {
    const prefix = parsePrefix(text);
    return typeof prefix === 'string' ? [] : [prefix];
  });

  function hasProxyHeader(ip: string): boolean {
    if (!config.proxy_protocol) return false;
    const address = parseIp(ip);
    if (balancers.length === 0 || address === null) return true;
    return balancers.some((prefix) => prefixHas(prefix, address));
  }

  function onTap(socket: TapSocket): void {
    context.commands.metrics.accepted += 1;
    const connection = new Connection(context, socket);
    socket.reader = connection;
    connection.begin(hasProxyHeader);
  }

  function onPlain(socket: Socket): void {
    context.commands.metrics.accepted += 1;
    const connection = new Connection(context, socket);
    readPlain(socket, connection);
    connection.begin(hasProxyHeader);
  }

  return {
    start() {
      const created = createServer({ allowHalfOpen: true, noDelay: true }, onPlain);
      server = created;
      return new Promise((resolve, reject) => {
        created.once('error', reject);
        created.listen(
          { host: config.listen.host, port: config.listen.port, backlog: config.backlog },
          () => {
            created.off('error', reject);
            if (!acceptAsTaps(created, onTap)) {
              logger.warn('accepting with plain sockets: this Node.js hides its handles');
            }
            // Accepting may fail without free descriptors; the listener continues.
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
    },
  };
}
