import { liveQuery, liveWindowExample } from '@sockscope/schemas/api';
import type { LiveQuery } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { PROBLEMS } from '../http/question.js';
import { presenterOf } from '../mask/presenter.js';
import { viewOf, visiblePredicate } from '../mask/visible.js';
import { ProblemError } from '../problems/problem.js';
import { frame } from './event.js';
import { openWriter } from './route.js';
import type { StreamDeps } from './route.js';
import type { Views } from './views.js';

/** `GET /stream/active`: a ranked window of the open sessions, a frame a second. */
export function serveLiveView(
  app: FastifyInstance,
  deps: StreamDeps & { readonly views: Views },
): void {
  const open = new Set<(cause: 'stopping') => void>();
  let joining = 0;
  app.addHook('preClose', async () => {
    for (const end of open) end('stopping');
    deps.views.stop();
  });
  app.get(
    '/stream/active',
    {
      // A HEAD would never end.
      exposeHeadRoute: false,
      config: { scope: 'read', audience: 'everyone' },
      schema: {
        operationId: 'streamActive',
        summary: 'Server-sent frames of the open sessions with the most traffic, one per second',
        description:
          'Each frame `window` is a complete LiveWindow and replaces the previous one. Under load, ' +
          'frames come every 2 or 5 s; see `every_ms`.',
        tags: ['live'],
        querystring: liveQuery,
        response: {
          200: {
            description: 'a stream of frames',
            content: {
              'text/event-stream': {
                schema: z.string().meta({ examples: [frame('window', liveWindowExample)] }),
              },
            },
          },
          ...PROBLEMS,
        },
      },
    },
    async (request, reply) => {
      const context = deps.contextOf(request, reply);
      if (open.size + joining >= deps.config.clients_max) {
        throw new ProblemError('overloaded', 'too many live views are open', {
          retryAfterSeconds: 5,
        });
      }
      const query = request.query as LiveQuery;
      const matches = visiblePredicate(query, context);
      const leaveShare = deps.shares.enter(context.share, 'live streams');
      joining += 1;
      let isOpen = false;
      try {
        const early: string[] = [];
        let write = (text: string) => {
          early[0] = text;
        };
        const leave = await deps.views.join(
          {
            // Equal requests with equal rights share a view.
            name: JSON.stringify([viewOf(query, context), query.sort, query.limit]),
            matches,
            sort: query.sort,
            limit: query.limit,
            presenter: presenterOf(context.mask),
          },
          (text) => {
            write(text);
          },
        );
        const writer = openWriter(request, reply, deps, open);
        isOpen = true;
        writer.onEnd(leaveShare);
        writer.onEnd(leave);
        write = (text) => {
          // The next frame replaces this one: a slow client misses some.
          if (reply.raw.writableLength === 0) writer.write([text]);
        };
        writer.write(early);
      } finally {
        joining -= 1;
        if (!isOpen) leaveShare();
      }
    },
  );
}
