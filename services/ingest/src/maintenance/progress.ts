/** Shows progress: a bar on a terminal, a periodic line elsewhere. */
export interface Progress {
  readonly show: (done: number, total: number, what: string) => void;
  /** Ends the line of the bar. */
  readonly end: () => void;
}

const BAR_CELLS = 30;
/** Time between two lines without a terminal. */
const LINE_INTERVAL_MS = 5_000;
/** Between two redrawings of the bar. */
const BAR_INTERVAL_MS = 100;

export function createProgress(
  out: { readonly isTTY?: boolean; write(text: string): unknown },
  now: () => number = () => performance.now(),
): Progress {
  const interval = out.isTTY === true ? BAR_INTERVAL_MS : LINE_INTERVAL_MS;
  let shownAt = Number.NEGATIVE_INFINITY;
  let shownWhat = '';
  let isOpen = false;

  return {
    show(done, total, what) {
      if (what === shownWhat && done < total && now() - shownAt < interval) return;
      shownAt = now();
      shownWhat = what;
      const part = total === 0 ? 1 : Math.min(1, done / total);
      if (out.isTTY === true) {
        const cells = Math.round(part * BAR_CELLS);
        const bar = '#'.repeat(cells) + '.'.repeat(BAR_CELLS - cells);
        out.write(`\r[${bar}] ${Math.floor(part * 100)} % ${what}\u001b[K`);
        isOpen = true;
      } else {
        out.write(`${done} of ${total} ${what}\n`);
      }
    },
    end() {
      if (isOpen) out.write('\n');
      isOpen = false;
    },
  };
}
