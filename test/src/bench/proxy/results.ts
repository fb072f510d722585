import type { Measure } from './cases.js';

/** The middle value; the mean of the two middle ones if their number is even. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** A wish: a peer's measure against another one's, or against a number. */
export interface Target {
  readonly measure: string;
  readonly peer: string;
  readonly against: string | null;
  readonly bound: number;
  readonly lowerIsBetter: boolean;
}

export interface TargetOutcome extends Target {
  /** Null if one of the two was not measured. */
  readonly value: number | null;
  readonly met: boolean | null;
}

interface Failure {
  readonly case: string;
  readonly peer: string;
  readonly what: string;
}

/** The file of results: of one run, or of several that had different cases. */
export interface Report {
  readonly runs: readonly {
    readonly started_at: string;
    readonly machine: unknown;
    readonly options: unknown;
    readonly cases: readonly string[];
    readonly failures: readonly Failure[];
    readonly missing: unknown;
  }[];
  readonly measures: Readonly<
    Record<
      string,
      { unit: string; peers: Record<string, { median: number; values: readonly number[] }> }
    >
  >;
  readonly targets: readonly TargetOutcome[];
  readonly micro: readonly unknown[];
}

/** A run takes the place of an earlier one's cases that it had too, and keeps the others. */
export function mergeReports(before: Report | null, now: Report): Report {
  if (before === null) return now;
  const again = new Set(now.runs.flatMap(({ cases }) => cases));
  return {
    runs: [
      ...before.runs.flatMap((run) => {
        const cases = run.cases.filter((name) => !again.has(name));
        return cases.length === 0 ? [] : [{ ...run, cases }];
      }),
      ...now.runs,
    ],
    measures: { ...before.measures, ...now.measures },
    targets: [
      ...before.targets.filter(({ measure }) => now.measures[measure] === undefined),
      ...now.targets,
    ],
    micro: now.micro.length > 0 ? now.micro : before.micro,
  };
}

/** Values of all rounds. */
export class Results {
  readonly #values = new Map<string, Map<string, number[]>>();
  readonly #failures: Failure[] = [];

  add(measure: string, peer: string, value: number): void {
    const byPeer = this.#values.get(measure) ?? new Map<string, number[]>();
    this.#values.set(measure, byPeer);
    byPeer.set(peer, [...(byPeer.get(peer) ?? []), value]);
  }

  fail(caseName: string, peer: string, what: string): void {
    this.#failures.push({ case: caseName, peer, what });
  }

  get failures(): readonly Failure[] {
    return this.#failures;
  }

  median(measure: string, peer: string): number | null {
    const values = this.#values.get(measure)?.get(peer);
    return values === undefined ? null : median(values);
  }

  /**
   * The median of the ratios round by round, for neighbours in time share the machine's mood; null
   * if either is missing.
   */
  ratio(measure: string, peer: string, against: string): number | null {
    const values = this.#values.get(measure)?.get(peer);
    const others = this.#values.get(measure)?.get(against);
    if (values === undefined || others === undefined) return null;
    const ratios = values.flatMap((value, round) => {
      const other = others[round];
      return other === undefined || other === 0 ? [] : [value / other];
    });
    return ratios.length === 0 ? null : median(ratios);
  }

  check(targets: readonly Target[]): TargetOutcome[] {
    return targets.map((target) => {
      const { measure, peer, against, bound, lowerIsBetter } = target;
      const value =
        against === null ? this.median(measure, peer) : this.ratio(measure, peer, against);
      const met = value === null ? null : lowerIsBetter ? value <= bound : value >= bound;
      return { ...target, value, met };
    });
  }

  toJson(measures: readonly Measure[]): Report['measures'] {
    return Object.fromEntries(
      measures.map(({ name, unit }) => [
        name,
        {
          unit,
          peers: Object.fromEntries(
            [...(this.#values.get(name) ?? [])].map(([peer, values]) => [
              peer,
              { median: median(values), values },
            ]),
          ),
        },
      ]),
    );
  }
}

/** Numbers with as many digits as one can use. */
export function short(value: number | null): string {
  if (value === null) return '–';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** A table in plain text: the first column left, the rest right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, n) => {
      widths[n] = Math.max(widths[n] ?? 0, cell.length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, n) => (n === 0 ? cell.padEnd(widths[n] ?? 0) : cell.padStart(widths[n] ?? 0)))
        .join('  '),
    )
    .join('\n');
}
