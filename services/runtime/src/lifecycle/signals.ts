/**
 * Returns a signal that fires with another one, or after a time.
 *
 * Not `AbortSignal.any` with `AbortSignal.timeout`: it holds its sources weakly, and a time that nothing else
 * holds is never over once Node 20 has collected it.
 */
export function signalWithin(signal: AbortSignal, ms: number): AbortSignal {
  const over = new AbortController();
  setTimeout(() => {
    over.abort();
  }, ms).unref();
  return AbortSignal.any([signal, over.signal]);
}
