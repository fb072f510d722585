import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { createJsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { completed } from './openapi-document.js';
import type { OpenApiDocument } from './openapi-document.js';

const DESCRIPTION = `Who used the proxy, to reach what, when, and how much it moved.

Times in answers are UTC with milliseconds; ranges include their start and exclude their end.
\`bytes_sent\` is client to destination, \`bytes_received\` destination to client. Counters are exact
integers. A "packet" is a datagram for UDP and a read from the socket for TCP. Errors are RFC 9457
problem documents that name every unknown or wrong parameter. A key that is tied to users sees only
their sessions, and gets 404 from operations with \`x-audience: untied\`.`;

/** The OpenAPI 3.1 document at /openapi.json and its viewer at /docs, where / leads; both made from the zod schemas. */
export async function serveOpenApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sockscope',
        version,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      tags: [
        { name: 'sessions', description: 'Single sessions: history, open ones, timelines' },
        { name: 'analytics', description: 'Sums over ranges' },
        { name: 'live', description: 'Open sessions and their traffic, now' },
        { name: 'accounts', description: 'Keys, sign-in and the audit log' },
        { name: 'annotations', description: 'Notes on moments and ranges of time' },
        { name: 'clash', description: 'For dashboards made for mihomo (Clash)' },
      ],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'an API key or a JWT' },
          apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'an API key' },
        },
      },
    },
    transform: createJsonSchemaTransform({ skipList: [] }),
    transformObject: (document) =>
      completed(jsonSchemaTransformObject(document) as OpenApiDocument) as ReturnType<
        typeof jsonSchemaTransformObject
      >,
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // Without upgrade-insecure-requests, which leaves the page blank on plain http beyond loopback.
    staticCSP: {
      'default-src': `'self'`,
      'base-uri': `'self'`,
      'font-src': `'self' data:`,
      'frame-ancestors': `'self'`,
      'img-src': `'self' data:`,
      'object-src': `'none'`,
      'script-src': `'self'`,
      'style-src': `'self' 'unsafe-inline'`,
    },
    uiConfig: { deepLinking: true },
  });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
  // A browser at the bare address gets the list of routes.
}
