import type { FastifyInstance } from 'fastify';
import { ProblemError } from '../problems/problem.js';
import { isSameHost } from './origins.js';

const READS = ['GET', 'HEAD', 'OPTIONS'];

/**
 * Lets only pages of our own write, with authentication off as well: any page in the user's browser could
 * post to loopback. A form cannot send JSON, and a browser names the origin of a request.
 */
export function requireSameOrigin(app: FastifyInstance, publicUrl: string): void {
  app.addHook('onRequest', async (request) => {
    if (READS.includes(request.method)) return;
    const { origin, 'sec-fetch-site': site, 'content-type': type } = request.headers;
    if (type?.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
      const message = 'a write needs content-type: application/json';
      throw new ProblemError('unsupported-media-type', message);
    }
    const isSameSite = site === undefined || site === 'same-origin';
    const isOurs =
      origin === undefined
        ? site === 'same-origin'
        : isSameHost(origin, request.host) ||
          (publicUrl !== '' && new URL(publicUrl).origin === origin);
    if (!isSameSite || !isOurs) {
      throw new ProblemError(
        'forbidden',
        'a write needs an Origin or Sec-Fetch-Site of the same origin',
      );
    }
  });
}
