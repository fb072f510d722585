import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Audience, Scope } from '../auth/principal.js';
import type { Gate } from '../store/gate.js';
import type { Context } from './context.js';
import { markOf, problemOf, PROBLEMS } from './question.js';

/** Bodies that are larger are refused. */
const BODY_BYTES_MAX = 262_144;

/**
 * One route that changes something. Its body is JSON; same-origin.ts defines the allowed origins.
 */
export interface Write<
  Params extends z.ZodType,
  Body extends z.ZodType | undefined,
  Answer extends z.ZodType | undefined,
> {
  readonly method: 'POST' | 'DELETE';
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly tag: 'accounts' | 'annotations';
  readonly params: Params;
  readonly body?: Body;
  /** The schema of the answer with status 201; without it 204. */
  readonly answer?: Answer;
  readonly scope: Scope;
  readonly audience: Audience;
  change(
    input: {
      readonly params: z.output<Params>;
      readonly body: Body extends z.ZodType ? z.output<Body> : undefined;
    },
    context: Context,
  ): Promise<Answer extends z.ZodType ? z.output<Answer> : void>;
}

/** Serves a write: validated, allowed, in turn. */
export function serveWrite<
  Params extends z.ZodType,
  Body extends z.ZodType | undefined = undefined,
  Answer extends z.ZodType | undefined = undefined,
>(
  app: FastifyInstance,
  deps: {
    contextOf(request: FastifyRequest, reply: FastifyReply): Context;
    readonly gates: Readonly<Record<'light', Gate>>;
  },
  write: Write<Params, Body, Answer>,
): void {
  const { method, path, operationId, summary, tag, params, body, answer } = write;
  const { scope, audience } = write;
  const done =
    answer === undefined
      ? { 204: z.undefined().describe('done') }
      : {
          201: {
            description: 'created',
            content: { 'application/json': { schema: answer } },
          },
        };
  app.route({
    method,
    url: path,
    bodyLimit: BODY_BYTES_MAX,
    config: { scope, audience },
    schema: {
      operationId,
      summary,
      tags: [tag],
      ...markOf(audience),
      params,
      ...(body === undefined ? {} : { body }),
      response: {
        ...done,
        ...PROBLEMS,
        413: problemOf('the body is too large'),
        415: problemOf('the body is not JSON'),
        ...(path.includes(':') || audience === 'untied'
          ? { 404: problemOf('there is no such object') }
          : {}),
      },
    },
    handler: async (request, reply) => {
      const context = deps.contextOf(request, reply);
      // The type provider has validated both by these very schemas.
      const input = { params: request.params, body: request.body } as Parameters<
        typeof write.change
      >[0];
      const made = await deps.gates.light.pass(context, () => write.change(input, context));
      void reply.header('cache-control', 'no-store');
      if (answer === undefined) return reply.code(204).send();
      return reply
        .code(201)
        .type('application/json; charset=utf-8')
        .serializer(JSON.stringify)
        .send(answer.parse(made));
    },
  });
}
