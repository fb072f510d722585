/** Asks once for all callers within a time. A failure is not remembered. */
export function remembered<T>(ask: () => Promise<T>, reuseMs: number): () => Promise<T> {
  let known: { readonly atMs: number; readonly answer: Promise<T> } | null = null;
  return () => {
    const nowMs = performance.now();
    if (known !== null && nowMs - known.atMs < reuseMs) return known.answer;
    const latest = { atMs: nowMs, answer: ask() };
    known = latest;
    latest.answer.catch(() => {
      if (known === latest) known = null;
    });
    return latest.answer;
  };
}
