/** Beginnings of the statements into which pairs of user and destination are cut. */
import { z } from 'zod';
import type { Part } from './sql.js';

export const pair = z.object({ user: z.string(), dest_host: z.string() });
export type Pair = z.infer<typeof pair>;

/** Seconds since 1970. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Returns the first pair of a slice and of the next one; see inRange in sql.ts. */
export function boundsOf(
  pairs: readonly Pair[],
  { slice, slices }: Part,
): Readonly<Record<string, string>> {
  const at = (step: number) => pairs[Math.floor((step * pairs.length) / slices)];
  const [from, to] = [at(slice), at(slice + 1)];
  return {
    from_user: from?.user ?? '',
    from_host: from?.dest_host ?? '',
    to_user: to?.user ?? '',
    to_host: to?.dest_host ?? '',
  };
}
