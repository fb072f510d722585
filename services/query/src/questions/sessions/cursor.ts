import { createHash } from 'node:crypto';
import { sessionId } from '@sockscope/schemas';
import { z } from 'zod';
import { ProblemError } from '../../problems/problem.js';
import type { PagePosition } from '../../sql/sessions.js';

/** What may change from page to page. */
const UNBOUND: ReadonlySet<string> = new Set(['cursor', 'limit', 'format']);

/**
 * What a cursor is bound to: everything of the request that decides which sessions are on the
 * pages and in which order. As it was sent, never as it was understood: whoever knows the request could
 * try names until the hash fits, and so find out whom a masked user stands for.
 */
export function bindingOf(question: string, parameters: object): string {
  const entries = Object.entries(parameters)
    .filter(([name, value]) => value !== undefined && !UNBOUND.has(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([question, entries]))
    .digest('base64url')
    .slice(0, 16);
}

const VERSION = 1;
const payload = z.tuple([
  z.literal(VERSION),
  z.string(),
  z.int().nullable(),
  z.int().min(0),
  sessionId,
]);

/** Names the session that a page ended with. It holds nothing that the page did not show. */
export function encodeCursor(binding: string, position: PagePosition): string {
  const parts = [VERSION, binding, position.value, position.startedMs, position.sessionId];
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** @throws ProblemError invalid-cursor where it was not made by `encodeCursor` for this binding. */
export function decodeCursor(binding: string, text: string): PagePosition {
  const parsed = payload.safeParse(jsonOf(Buffer.from(text, 'base64url').toString('utf8')));
  if (!parsed.success) throw wrong('is not a next_cursor of this service');
  const [, of, value, startedMs, id] = parsed.data;
  if (of !== binding) throw wrong('belongs to a request with other filters');
  return { value, startedMs, sessionId: id };
}

function wrong(message: string): ProblemError {
  return new ProblemError('invalid-cursor', `cursor: ${message}`, {
    errors: [{ parameter: 'cursor', message }],
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
