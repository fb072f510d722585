/**
 * The dashboard's files. All of them are ours, so a strict content security policy holds: nothing is
 * loaded from elsewhere, no inline script or style runs, and no page may frame it.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { Logger } from '@sockscope/runtime';
import type { FastifyInstance } from 'fastify';

/** The folder that the build of `services/query/web` writes. */
export const SITE_FOLDER = fileURLToPath(new URL('../../web/dist/site', import.meta.url));

/** The first segment of each page's path. The dashboard's own routes have the same; a test compares them. */
export const PAGES = [
  'live',
  'sessions',
  'session',
  'entity',
  'explore',
  'usage',
  'lookup',
  'signals',
  'health',
  'sign-in',
] as const;

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
} as const;

/** Files under `assets/` have the hash of their content in their name. */
const ASSET_AGE = '365d';

/** Serves the dashboard from a folder. Without one `/` leads to the API's documentation. */
export async function serveSite(
  app: FastifyInstance,
  { folder, logger }: { readonly folder: string | null; readonly logger: Logger },
): Promise<void> {
  if (folder === null || !existsSync(join(folder, 'index.html'))) {
    if (folder !== null) {
      logger.warn(
        { folder },
        'the dashboard is not built, so only the API is served; run `npm run build`',
      );
    }
    app.get('/', { schema: { hide: true } }, (_request, reply) => reply.redirect('/docs'));
    return;
  }
  const page = await readFile(join(folder, 'index.html'));
  await app.register(async (site) => {
    site.addHook('onSend', async (_request, reply) => {
      reply.headers(HEADERS);
    });
    await site.register(fastifyStatic, {
      root: folder,
      index: false,
      wildcard: false,
      // It is served below, under the paths of the pages.
      globIgnore: ['index.html'],
      decorateReply: false,
      immutable: true,
      maxAge: ASSET_AGE,
      schemaHide: true,
    });
    for (const path of ['/', ...PAGES.flatMap((each) => [`/${each}`, `/${each}/*`])]) {
      site.get(path, { schema: { hide: true } }, async (_request, reply) => {
        // A new version of the dashboard is seen at the next load.
        return reply
          .type('text/html; charset=utf-8')
          .header('cache-control', 'no-cache')
          .send(page);
      });
    }
  });
}
