import type { Health } from '@sockscope/runtime';
import type { FastifyInstance } from 'fastify';

/**
 * `/healthz` and `/readyz` on the users' port, for load balancers. They answer ok or not and no more:
 * the reason is on the operations port (QUERY_OPS_LISTEN), beside the metrics.
 */
export function serveOperations(app: FastifyInstance, deps: { readonly health: Health }): void {
  for (const [path, kind] of [
    ['/healthz', 'live'],
    ['/readyz', 'ready'],
  ] as const) {
    app.get(path, { schema: { hide: true } }, async (_request, reply) => {
      const { ok } = await deps.health.report(kind);
      return reply
        .code(ok ? 200 : 503)
        .header('cache-control', 'no-store')
        .send({ ok });
    });
  }
}
