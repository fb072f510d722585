import type { Health, Registry } from '@sockscope/runtime';
import type { FastifyInstance } from 'fastify';

/** `/healthz`, `/readyz` and `/metrics`: for the machinery around the service, outside of the API. */
export function serveOperations(
  app: FastifyInstance,
  deps: { readonly health: Health; readonly registry: Registry },
): void {
  for (const [path, kind] of [
    ['/healthz', 'live'],
    ['/readyz', 'ready'],
  ] as const) {
    app.get(path, { schema: { hide: true } }, async (_request, reply) => {
      const report = await deps.health.report(kind);
      return reply
        .code(report.ok ? 200 : 503)
        .header('cache-control', 'no-store')
        .send(report);
    });
  }
  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) =>
    reply.type(deps.registry.contentType).send(await deps.registry.metrics()),
  );
}
