import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal.js';
import type { Mask } from '../mask/mask.js';

/** What a question knows of the request that asks it. */
export interface Context {
  /** Fires when the client goes away. */
  readonly signal: AbortSignal;
  /** Milliseconds since 1970, one reading per request. */
  readonly nowMs: number;
  readonly principal: Principal;
  /** What the principal sees in place of users and addresses. */
  readonly mask: Mask;
  /** The only user whose sessions the principal may see; null for all. */
  readonly onlyUser: string | null;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}
