/** The exports that are being sent, for an orderly stop. */
export interface RunningExports {
  /** @param cut ends it now. @returns to be called when it has ended, its end in the audit log. */
  add(cut: () => void): () => void;
  /** Resolves when all have ended; exports that take longer than a moment are cut off. */
  stop(): Promise<void>;
}

const STOP_GRACE_MS = 2_000;

export function createRunningExports(): RunningExports {
  const running = new Set<() => void>();
  let onEmpty: () => void = () => undefined;
  return {
    add(cut) {
      running.add(cut);
      return () => {
        running.delete(cut);
        if (running.size === 0) onEmpty();
      };
    },
    async stop() {
      if (running.size === 0) return;
      const timer = setTimeout(() => {
        for (const cut of running) cut();
      }, STOP_GRACE_MS);
      await new Promise<void>((resolve) => {
        onEmpty = resolve;
      });
      clearTimeout(timer);
    },
  };
}
