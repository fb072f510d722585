/** The answer, or a rejection as soon as the signal fires, because its caller has left. */
export async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: () => void = () => undefined;
  const gone = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(new Error('the client went away'));
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([answer, gone]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
