import { createHash } from 'node:crypto';
import { EARLIEST_MS, LATEST_MS } from '@sockscope/schemas/api';
import { z } from 'zod';
import { ProblemError } from '../problems/problem.js';

/** Parameters that may change from page to page. */
const UNBOUND: ReadonlySet<string> = new Set(['cursor', 'limit', 'format', 'fields', 'totals']);

/**
 * The binding of a cursor: every part of the request that decides the content of the pages and
 * their order. The request as it was sent, never as it was resolved. Otherwise a reader could try
 * names until the hash fits, and find out a masked user.
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

const VERSION = 3;

/** A time in a cursor: within the bounds of the times that a request may name. Anybody can write a cursor. */
export const cursorTime = z.int().min(EARLIEST_MS).max(LATEST_MS);

/** Names the end of a page. It holds nothing that the page did not show. */
export function encodeCursor(binding: string, position: readonly unknown[]): string {
  return Buffer.from(JSON.stringify([VERSION, binding, ...position])).toString('base64url');
}

/** @throws ProblemError invalid-cursor if `encodeCursor` did not make it for this binding. */
export function decodeCursor<T extends z.ZodType>(
  binding: string,
  text: string,
  schema: T,
): z.output<T> {
  const [version, of, ...position] = listOf(Buffer.from(text, 'base64url').toString('utf8'));
  const parsed = schema.safeParse(position);
  if (version !== VERSION || !parsed.success) throw wrong('is not a next_cursor of this service');
  if (of !== binding) throw wrong('belongs to a request with other parameters');
  return parsed.data;
}

function wrong(message: string): ProblemError {
  return new ProblemError('invalid-cursor', `cursor: ${message}`, {
    errors: [{ parameter: 'cursor', message }],
  });
}

function listOf(text: string): unknown[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}
