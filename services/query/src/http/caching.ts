import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** Events may come this much late; a range that ended earlier is taken as closed. */
const CLOSED_AFTER_MS = 300_000;
const PRIVATE_SECONDS = 60;

/** Whether a range that ends at this time has stopped changing, as a rule. */
export function isClosed(toMs: number | undefined, nowMs: number): boolean {
  return toMs !== undefined && toMs <= nowMs - CLOSED_AFTER_MS;
}

/** It ignores the fields with the time of the answer, and cursors have it too. So it is a weak one. */
function etagOf(answer: object, text: string): string {
  const isDated = 'as_of' in answer;
  const lasting = isDated
    ? JSON.stringify({ ...answer, as_of: undefined, data_until: undefined, ...cursorOf(answer) })
    : text;
  return `W/"${createHash('sha256').update(lasting).digest('base64url').slice(0, 27)}"`;
}

function cursorOf(answer: object): object {
  return 'next_cursor' in answer ? { next_cursor: answer.next_cursor !== null } : {};
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  const bare = (tag: string) => tag.trim().replace(/^W\//, '');
  return header.trim() === '*' || header.split(',').some((tag) => bare(tag) === bare(etag));
}

/**
 * Sets how long an answer may be cached.
 * `text` is the answer as it is sent.
 *
 * @returns whether the client has it already: then 304 was set and nothing need be sent.
 */
export function cacheAnswer(
  request: FastifyRequest,
  reply: FastifyReply,
  {
    answer,
    text,
    closed,
  }: { readonly answer: object; readonly text: string; readonly closed: boolean },
): boolean {
  if (!closed) {
    reply.header('cache-control', 'no-store');
    return false;
  }
  const etag = etagOf(answer, text);
  reply
    .header('cache-control', `private, max-age=${PRIVATE_SECONDS}`)
    .header('etag', etag)
    .header('vary', 'Authorization, X-API-Key, Cookie, Accept, Origin');
  if (!matches(request.headers['if-none-match'], etag)) return false;
  reply.code(304);
  return true;
}
