import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Events may come this much late; a range that ended earlier is taken as closed. */
const CLOSED_AFTER_MS = 300_000;
const PRIVATE_SECONDS = 60;

/** Whether a range that ends at this time has stopped changing, as a rule. */
export function isClosed(toMs: number | undefined, nowMs: number): boolean {
  return toMs !== undefined && toMs <= nowMs - CLOSED_AFTER_MS;
}

/** Fields that say when an answer was made, not what it is. */
const VOLATILE: ReadonlySet<string> = new Set(['as_of', 'data_until']);

/** Weak, because the time of the answer does not count. */
function etagOf(answer: unknown): string {
  const text = JSON.stringify(answer, (key, value: unknown) =>
    VOLATILE.has(key) ? undefined : value,
  );
  return `W/"${createHash('sha256').update(text).digest('base64url').slice(0, 27)}"`;
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const bare = (tag: string) => tag.trim().replace(/^W\//, '');
  return header.trim() === '*' || header.split(',').some((tag) => bare(tag) === bare(etag));
}

/**
 * Says how long an answer may be kept.
 *
 * @returns whether the client has it already: then 304 was set and nothing need be sent.
 */
export function cacheAnswer(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: unknown,
  closed: boolean,
): boolean {
  if (!closed) {
    reply.header('cache-control', 'no-store');
    return false;
  }
  const etag = etagOf(answer);
  reply
    .header('cache-control', `private, max-age=${PRIVATE_SECONDS}`)
    .header('etag', etag)
    .header('vary', 'Authorization, X-API-Key, Accept');
  if (!matches(request.headers['if-none-match'], etag)) return false;
  reply.code(304);
  return true;
}
