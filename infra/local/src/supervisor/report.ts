/** A step that takes longer reports periodically that it still runs. */
const STILL_WORKING_MS = 10_000;

export interface Reporter {
  line(text: string): void;
  problem(text: string): void;
  /** The line that tools wait for. */
  ready(line: string): void;
  /** Something to paste. */
  hint(text: string): void;
  /** Prints steps that begin, continue and end, with their time. */
  step<T>(what: string, work: () => Promise<T>): Promise<T>;
}

/** The lines that a person at the terminal sees. */
export function createReporter(deps: {
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
}): Reporter {
  return {
    line(text) {
      deps.out(`sockscope: ${text}`);
    },
    problem(text) {
      deps.err(`sockscope: ${text}`);
    },
    ready(line) {
      deps.out(line);
    },
    hint(text) {
      deps.out(`  ${text}`);
    },
    async step(what, work) {
      const began = performance.now();
      const seconds = (digits: number): string =>
        ((performance.now() - began) / 1000).toFixed(digits);
      deps.out(`sockscope: ${what} ...`);
      const timer = setInterval(() => {
        deps.out(`sockscope: still ${what} (${seconds(0)} s)`);
      }, STILL_WORKING_MS);
      try {
        const result = await work();
        deps.out(`sockscope: ${what}: done in ${seconds(1)} s`);
        return result;
      } finally {
        clearInterval(timer);
      }
    },
  };
}
