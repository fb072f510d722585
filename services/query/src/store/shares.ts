import { ProblemError } from '../problems/problem.js';

/** Long answers that are open at once, by whose they are. */
export interface Shares {
  /**
   * Takes a place of a share; null has as many as there are.
   *
   * @param what for the message: `live streams`.
   * @returns gives the place back; further calls do nothing.
   * @throws ProblemError overloaded
   */
  enter(share: string | null, what: string): () => void;
}

const RETRY_AFTER_SECONDS = 5;

export function createShares(perShareMax: number): Shares {
  const open = new Map<string, number>();
  return {
    enter(share, what) {
      if (share === null) return () => undefined;
      const before = open.get(share) ?? 0;
      if (before >= perShareMax) {
        throw new ProblemError(
          'overloaded',
          `this key or token has ${perShareMax} ${what} open, which is its limit`,
          { retryAfterSeconds: RETRY_AFTER_SECONDS },
        );
      }
      open.set(share, before + 1);
      let isIn = true;
      return () => {
        if (!isIn) return;
        isIn = false;
        const left = (open.get(share) ?? 1) - 1;
        if (left === 0) open.delete(share);
        else open.set(share, left);
      };
    },
  };
}
