import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Principal } from '../auth/principal.js';
import type { Viewer } from '../mask/viewer.js';
import type { Visitor } from '../store/gate.js';

/** The part of a request that its question knows. */
export interface Context extends Viewer {
  readonly principal: Principal;
  /** Owner of the share of limited places; null without authentication, when all share them. */
  readonly share: string | null;
  /** When the request arrived, by performance.now(). */
  readonly arrivedMs: number;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Returns the request as a gate sees it. */
export function visitorOf({ principal, arrivedMs }: FastifyRequest) {
  const share = principal.kind === 'local' ? null : principal.id;
  return { share, arrivedMs } satisfies Omit<Visitor, 'signal'>;
}
