/** One signal out of a deadline and the caller's own, and which of them ended the call. */
export interface Deadline {
  readonly signal: AbortSignal;
  ended(): 'timeout' | 'aborted' | null;
  /** Takes the timer and the listener away; a forgotten one would keep the process and the signal's list. */
  clear(): void;
}

export function createDeadline(timeoutMs: number, caller?: AbortSignal): Deadline {
  const controller = new AbortController();
  let cause: 'timeout' | 'aborted' | null = null;
  const end = (why: 'timeout' | 'aborted') => {
    cause ??= why;
    controller.abort();
  };
  const onAbort = () => {
    end('aborted');
  };
  const timer = setTimeout(() => {
    end('timeout');
  }, timeoutMs);
  if (caller?.aborted === true) onAbort();
  else caller?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    ended: () => cause,
    clear() {
      clearTimeout(timer);
      caller?.removeEventListener('abort', onAbort);
    },
  };
}
