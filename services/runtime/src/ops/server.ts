import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../errors.js';
import type { Logger } from '../log/logger.js';
import type { ListenAddress } from '../config/values.js';
import type { Health } from './health.js';

/** The source of `/metrics`: a prom-client registry, or one that gathers several. */
export interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface OpsServer {
  start(): Promise<ListenAddress>;
  stop(): Promise<void>;
}

/** `GET /metrics`, `/healthz` and `/readyz`. 503 with the failing checks if a check is not ok. */
export function createOpsServer(
  config: { readonly listen: ListenAddress },
  deps: { readonly health: Health; readonly metrics: MetricsSource; readonly logger: Logger },
): OpsServer {
  const server = createServer(
    // Scrapers send small GETs; anything larger or slower is not one of them.
    {
      requestTimeout: 5_000,
      headersTimeout: 5_000,
      keepAliveTimeout: 30_000,
      maxHeaderSize: 8_192,
    },
    (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0];
      void answer(request.method, path, response).catch((error: unknown) => {
        deps.logger.error({ err: error }, 'ops request failed');
        if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
        response.end(`${messageOf(error)}\n`);
      });
    },
  );
  server.maxConnections = 64;

  async function answer(
    method: string | undefined,
    path: string | undefined,
    response: ServerResponse,
  ) {
    if (method !== 'GET' && method !== 'HEAD') {
      response.writeHead(405, { allow: 'GET, HEAD' }).end();
      return;
    }
    if (path === '/metrics') {
      const text = await deps.metrics.metrics();
      response.writeHead(200, { 'content-type': deps.metrics.contentType }).end(text);
      return;
    }
    if (path === '/healthz' || path === '/readyz') {
      const report = await deps.health.report(path === '/healthz' ? 'live' : 'ready');
      response.writeHead(report.ok ? 200 : 503, {
        'content-type': 'application/json',
        'cache-control': 'no-store',
      });
      response.end(`${JSON.stringify(report)}\n`);
      return;
    }
    response
      .writeHead(404, { 'content-type': 'text/plain' })
      .end('try /metrics, /healthz, /readyz\n');
  }

  return {
    start: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject);
        server.listen(config.listen.port, config.listen.host, () => {
          server.off('error', reject);
          resolve({ host: config.listen.host, port: (server.address() as AddressInfo).port });
        });
      }),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}
