import { Counter, Histogram } from '@sockscope/runtime';
import type { Registry } from '@sockscope/runtime';
import type { FastifyInstance } from 'fastify';

/** Requests by route pattern, method and status: all of fixed sets. */
export function measureRequests(app: FastifyInstance, registry: Registry): void {
  const duration = new Histogram({
    name: 'sockscope_query_http_request_duration_seconds',
    help: 'Time from receiving a request to the end of its answer.',
    labelNames: ['route', 'method', 'status'],
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers: [registry],
  });
  const aborted = new Counter({
    name: 'sockscope_query_http_aborted_total',
    help: 'Requests whose client disconnected before the answer.',
    labelNames: ['route'],
    registers: [registry],
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    const method = ['GET', 'HEAD'].includes(request.method) ? request.method : 'other';
    duration.observe({ route, method, status: reply.statusCode }, reply.elapsedTime / 1_000);
    done();
  });
  app.addHook('onRequestAbort', (request, done) => {
    aborted.inc({ route: request.routeOptions.url ?? 'none' });
    done();
  });
}
