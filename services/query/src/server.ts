import { formatListenAddress } from '@sockscope/runtime';
import type { Component, ListenAddress, Logger } from '@sockscope/runtime';
import type { FastifyInstance } from 'fastify';
import { shareConnections } from './http/connections.js';

export interface QueryServer extends Component {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Its address; null before `start`. */
  address(): ListenAddress | null;
}

/** The app behind a port. */
export function createQueryServer(
  config: {
    readonly listen: ListenAddress;
    readonly connections_max: number;
    readonly trusted_proxies: readonly string[];
  },
  deps: { readonly app: FastifyInstance; readonly logger: Logger },
): QueryServer {
  const { app, logger } = deps;
  let address: ListenAddress | null = null;
  shareConnections(app.server, config);
  return {
    async start() {
      app.server.maxConnections = config.connections_max;
      await app.listen({
        host: config.listen.host,
        port: config.listen.port,
        // The default of 511 overflows in a flood, and a client repeats a lost SYN after up to a minute.
        backlog: config.connections_max,
      });
      const bound = app.server.address();
      const port = typeof bound === 'object' && bound !== null ? bound.port : config.listen.port;
      address = { host: config.listen.host, port };
      logger.info({ address: formatListenAddress(address) }, 'listening');
    },
    stop: () => app.close(),
    address: () => address,
  };
}
