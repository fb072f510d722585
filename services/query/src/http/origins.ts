import cors from '@fastify/cors';
import type { FastifyInstance, FastifyReply } from 'fastify';

/** How long a browser may remember the allowed methods and headers. */
const REMEMBERED_SECONDS = 600;

/**
 * Lets pages of these origins read answers (CORS); without any, only our own pages can.
 * Runs before every part that refuses requests, so that such a page can read a problem, too.
 */
export async function allowOrigins(
  app: FastifyInstance,
  origins: readonly string[],
): Promise<void> {
  if (origins.length === 0) return;
  app.addHook('onRequest', async (request, reply) => {
    // Chrome asks this for a page of the internet that wants to reach a private address or loopback.
    const { origin } = request.headers;
    if (request.headers['access-control-request-private-network'] !== 'true') return;
    if (origin !== undefined && origins.includes(origin)) {
      reply.header('access-control-allow-private-network', 'true');
    }
  });
  await app.register(cors, {
    origin: [...origins],
    methods: ['GET', 'HEAD'],
    allowedHeaders: [
      'Accept',
      'Authorization',
      // Dashboards made for mihomo send it with a GET.
      'Content-Type',
      'If-None-Match',
      'Last-Event-ID',
      'X-API-Key',
    ],
    exposedHeaders: ['Content-Disposition', 'ETag', 'Retry-After', 'X-Request-Id'],
    maxAge: REMEMBERED_SECONDS,
    strictPreflight: false,
  });
}

/** The headers of an answer that must be set by hand if the connection is taken over. */
export function originHeadersOf(reply: FastifyReply): Record<string, string> {
  const names = [
    'access-control-allow-origin',
    'access-control-expose-headers',
    'vary',
    'x-request-id',
  ];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = reply.getHeader(name);
      return value === undefined ? [] : [[name, String(value)]];
    }),
  );
}

/**
 * Whether a WebSocket may be opened. Browsers let any page open one to anywhere, loopback included,
 * and read it: only the origin that they send distinguishes a stranger's page from ours. Programs
 * send none.
 */
export function mayOpenSocket(
  origins: readonly string[],
  origin: string | undefined,
  host: string | undefined,
): boolean {
  if (origin === undefined || origins.includes(origin)) return true;
  return isSameHost(origin, host ?? '');
}

export function isSameHost(origin: string, host: string): boolean {
  // Behind a proxy that ends TLS the scheme is another; a default port may be written or not.
  if (!URL.canParse(origin)) return false;
  const own = new URL(origin);
  const wanted = `${own.protocol}//${host}`;
  return host !== '' && URL.canParse(wanted) && new URL(wanted).host === own.host;
}
