import { loadText, MIX_P99_TARGET_MS, MIX_RATES } from './mix.js';
import type { MixedLoad } from './mix.js';
import { QUESTIONS } from './questions.js';
import type { Loaded } from './sqlite-peer.js';

export interface Measured {
  readonly p50Ms: number;
  readonly p95Ms: number;
  /** The median as a multiple of `SELECT 1`, asked between the same requests. */
  readonly ratio: number;
  readonly rowsRead: number;
  /** Answered with 422 and the longest possible range. */
  readonly refused: number;
  /** Neither answered nor refused so. */
  readonly failed: number;
}

export interface SizeResult {
  readonly sessions: number;
  readonly bytesPerSession: Readonly<Record<string, number>>;
  /** `SELECT 1` to ClickHouse through the same client, to compare all figures with. */
  readonly selectOneMs: number;
  readonly questions: Readonly<Record<string, Measured>>;
  /** Far more than the machine can answer. */
  readonly flood: MixedLoad;
  /** The highest of MIX_RATES at which all are answered within the target; null if there is none. */
  readonly keptUpWith: MixedLoad | null;
}

export interface PeerResult {
  readonly loaded: Loaded;
  readonly p50Ms: Readonly<Record<string, number>>;
}

/** Prints the results as a table; `!` marks a missed target. */
export function report(sizes: readonly SizeResult[], peer: PeerResult | null): void {
  const [first] = sizes;
  const last = sizes.at(-1);
  if (first === undefined || last === undefined) return;
  const rows = QUESTIONS.map(({ name, ratioMax, growthMax }) => {
    const cells = sizes.flatMap(({ questions }) => {
      const measured = questions[name];
      return measured === undefined
        ? ['', '', '', '']
        : [
            `${measured.p50Ms.toFixed(1)}${measured.refused > 0 ? ` (422: ${measured.refused})` : ''}${measured.failed > 0 ? ` (FAILED: ${measured.failed})` : ''}`,
            measured.ratio.toFixed(1),
            measured.p95Ms.toFixed(1),
            String(measured.rowsRead),
          ];
    });
    const { p50Ms, ratio } = last.questions[name] ?? { p50Ms: Number.NaN, ratio: Number.NaN };
    const growth = p50Ms / (first.questions[name]?.p50Ms ?? Number.NaN);
    return [
      name,
      ...cells,
      sizes.length > 1
        ? `${growth.toFixed(2)}${growthMax !== null && growth > growthMax ? ' !' : ''}`
        : '',
      ratioMax === null ? '' : `${ratioMax}${ratio > ratioMax ? ' !' : ''}`,
      peer?.p50Ms[name]?.toFixed(1) ?? '',
    ];
  });
  const head = [
    'question',
    ...sizes.flatMap(({ sessions }) => [
      `p50 ${sessions / 1e6}M`,
      '÷ SELECT 1',
      'p95',
      'rows read',
    ]),
    'growth',
    'target ÷',
    'SQLite p50',
  ];
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const row of all) {
    process.stdout.write(
      `${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')}\n`,
    );
  }
  for (const { sessions, flood, keptUpWith } of sizes) {
    const kept =
      keptUpWith === null
        ? `p99 above ${MIX_P99_TARGET_MS} ms at ${MIX_RATES[0]} a second already`
        : `keeps up with ${loadText(keptUpWith)}`;
    process.stdout.write(`mixed load on ${sessions / 1e6}M: ${kept}\n`);
    process.stdout.write(`flood on ${sessions / 1e6}M: ${loadText(flood)}\n`);
  }
}
