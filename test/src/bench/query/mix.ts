import { cpuSeconds } from '../ingest/measure.js';
import { openLoop } from './http.js';
import type { Load } from './http.js';
import { drawn, MIX, QUESTIONS } from './questions.js';
import type { Question, Subject } from './questions.js';
import type { Stack } from './stack.js';

export const MIX_P99_TARGET_MS = 200;
/** Requests a second that are tried one after the other, to find the highest rate that the machine keeps up with. */
export const MIX_RATES = [25, 50, 75, 100, 150, 200, 250, 300, 400];
const MIX_RATE_SECONDS = 6;
/** Distance between the ends of two questions' ranges, so that few are equal. */
const SHIFT_MS = 7;

/** A load and its cost. */
export interface MixedLoad extends Load {
  readonly rate: number;
  /** CPU time of query and ClickHouse for each request, in milliseconds. */
  readonly cpuMsPerRequest: number;
}

export type SubjectOf = (of: Pick<Subject, 'n' | 'rank' | 'shiftMs'>) => Subject;

/** The questions of the mix in an order that repeats every 100 requests. */
function mixOrder(): { readonly question: Question; readonly shared: boolean }[] {
  const all = MIX.flatMap(({ name, weight, shared = false }) => {
    const question = QUESTIONS.find((each) => each.name === name);
    if (question === undefined) throw new Error(`no question ${name}`);
    return Array.from({ length: weight }, () => ({ question, shared }));
  });
  // A stride that shares no factor with the length visits each once.
  return all
    .map((_, i) => all[(i * 37) % all.length] ?? all[0])
    .filter((each) => each !== undefined);
}

/** Asks the questions of a day of users and dashboards, `rate` times a second. */
export async function mixedLoad(
  stack: Stack,
  subject: SubjectOf,
  { rate, seconds, first = 0 }: { rate: number; seconds: number; first?: number },
): Promise<MixedLoad> {
  const order = mixOrder();
  const cpuNow = () => cpuSeconds(stack.pids.clickhouse) + cpuSeconds(stack.pids.query);
  const before = cpuNow();
  const load = await openLoop(stack.apiAsShipped, rate, seconds, (i) => {
    const n = first + i;
    const next = order[n % order.length];
    if (next === undefined) throw new Error('nothing to ask');
    const { question, shared } = next;
    const isOfTheMoment = shared && n % 3 === 0;
    const about = isOfTheMoment ? drawn(Math.floor(n / rate)) : drawn(n, n * SHIFT_MS);
    return `/api/v1/${question.path(subject(about))}`;
  });
  return { ...load, rate, cpuMsPerRequest: ((cpuNow() - before) * 1_000) / load.requests };
}

/** Tries rates until one is too high. Each continues the order of requests at the end of the previous one. */
export async function ratesKept(
  stack: Stack,
  subject: SubjectOf,
  say: (text: string) => void,
): Promise<MixedLoad | null> {
  let kept: MixedLoad | null = null;
  let first = 0;
  for (const rate of MIX_RATES) {
    const load = await mixedLoad(stack, subject, { rate, seconds: MIX_RATE_SECONDS, first });
    say(`  ${loadText(load)}`);
    if (load.failures + load.refused > 0 || load.p99Ms > MIX_P99_TARGET_MS) break;
    kept = load;
    first += load.requests;
  }
  return kept;
}

/** One line about a load. */
export function loadText(load: MixedLoad): string {
  return [
    `${load.rate} a second: ${load.perSecond.toFixed(0)} answered`,
    `p50 ${load.p50Ms.toFixed(1)} ms`,
    `p99 ${load.p99Ms.toFixed(0)} ms`,
    `longest ${load.longestMs.toFixed(0)} ms`,
    `${load.refused} of ${load.requests} refused with 503, after ${load.longestRefusedMs.toFixed(0)} ms at most`,
    `${load.failures} failed`,
    `${(load.repeated * 100).toFixed(0)} % asked twice within a second`,
    `${load.cpuMsPerRequest.toFixed(1)} ms of CPU each`,
  ].join(', ');
}
