/**
 * Asks once for all callers within a time from its beginning, and at least until there is an answer. A failure is not
 * remembered.
 *
 * @param share of the time that asking takes at most: an answer that took long is remembered for longer.
 */
export function remembered<T>(ask: () => Promise<T>, reuseMs: number, share = 1): () => Promise<T> {
  let known: Promise<T> | null = null;
  let untilMs = 0;
  return () => {
    if (known !== null && performance.now() < untilMs) return known;
    const begunMs = performance.now();
    untilMs = Number.POSITIVE_INFINITY;
    known = ask();
    known.then(
      () => {
        const tookMs = performance.now() - begunMs;
        untilMs = begunMs + Math.max(reuseMs, tookMs / share);
      },
      () => {
        known = null;
      },
    );
    return known;
  };
}
