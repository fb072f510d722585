import { z } from 'zod';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** A UUIDv7 (RFC 9562, section 5.7) in lower case, whose time is the session's start to the millisecond. */
export const sessionId = z
  .string()
  .regex(UUID_V7, 'must be a UUIDv7 in lower case')
  .meta({ format: 'uuid' });

/**
 * The start of a session, in milliseconds since 1970, as its id carries it.
 * That lets a session be found by id with a bound on the primary key.
 */
export function sessionStartMs(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}
