import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal.js';
import type { Viewer } from '../mask/viewer.js';

/** What a question knows of the request that asks it. */
export interface Context extends Viewer {
  readonly principal: Principal;
  /** Whose share of the limited places it takes; null without authentication: there is nobody else. */
  readonly share: string | null;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}
