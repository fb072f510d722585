/**
 * A model of rounds that run at once, for its test: the smallest thing in which the rollups could go
 * wrong. One session moves between two keys and back; a slice is summed from it, an hour from the slice, and a
 * day from the hour. The hour may also be summed from the session itself.
 */
import { ROUND_OF_SLICES } from './round.js';
import type { RoundStep } from './round.js';

export type Level = 'hour' | 'day';
/**
 * A round, by its bucket. One of an hour may choose to make it from rows; else it does so only if it has to. One of
 * slices leaves the hour as it is.
 */
export type Round = Level | 'hour_of_rows' | 'slices';
type Summed = 'slice' | Level;
/** The rows of the exact tables for each key, after a number of changes. */
type Values = readonly number[];

/** Mutations that the model must notice. */
export interface Rules {
  readonly order: readonly RoundStep[];
  /** Which rows count. */
  readonly counts: 'at_least_finished' | 'equal_to_finished' | 'highest';
  /** Whether a key that is gone is inserted as zero. */
  readonly zeros: boolean;
  /** When it is decided whether an hour is made from slices; once is not enough. */
  readonly looks: 'before_and_after' | 'before';
  /** Whether a round that chooses rows first marks a change that names no slice. */
  readonly leaves: boolean;
  /** Which slices a query reads itself. */
  readonly queried: 'settled_and_named' | 'settled' | 'finished';
}

export interface Scenario {
  /** The rounds of each worker, one bucket after the other. */
  readonly programs: readonly (readonly Round[])[];
  /** The exact values by key, one state after the other. */
  readonly states: readonly Values[];
  /** Kills at any time. */
  readonly killsMax: number;
  /** Changes that name no slice, by number; an ingest from before there were slices made them. */
  readonly unsliced?: readonly number[];
}

interface Bucket {
  /** Version and value of the row with the highest version, by key. */
  rows: (readonly [version: number, value: number])[];
  /** Newest mark of each writer. */
  changed: number[];
  summed: number[];
  finished: number;
  drawn: number;
}

interface Worker {
  readonly program: readonly Round[];
  /** Position in the program. */
  at: number;
  /** Position in the order; a round that inserts waits there until its rows have landed. */
  step: number;
  isAlive: boolean;
  hasRead: boolean;
  /** Changed through, by writer, as the round read it. */
  seen: readonly number[];
  /** The same of the slice; null if the hour is made from its rows. */
  seenSlice: readonly number[] | null;
  version: number;
  marksSent: number;
}

interface Late {
  readonly worker: number;
  readonly level: Summed;
  readonly key: number;
  readonly version: number;
  readonly value: number;
}

export interface State {
  slice: Bucket;
  hour: Bucket;
  day: Bucket;
  workers: Worker[];
  /** Rows that the server has read and not inserted yet. It continues when the worker is dead. */
  late: Late[];
  /** Changes whose rows are stored. */
  changed: number;
  /** Changes whose marks are stored, as bits. */
  marked: number;
  kills: number;
}

const createWorker = (program: readonly Round[]): Worker => ({
  program,
  at: 0,
  step: 0,
  isAlive: true,
  hasRead: false,
  seen: [],
  seenSlice: null,
  version: 0,
  marksSent: 0,
});

export function initial({ programs, states }: Scenario): State {
  const keys = states[0]?.length ?? 0;
  // Every worker is a writer, and so is every change; two more workers come in the end.
  const writers = programs.length + 2 + states.length - 1;
  const bucket = (): Bucket => ({
    rows: Array.from({ length: keys }, () => [0, 0] as const),
    changed: Array.from({ length: writers }, () => 0),
    summed: Array.from({ length: writers }, () => 0),
    finished: 0,
    drawn: 0,
  });
  return {
    slice: bucket(),
    hour: bucket(),
    day: bucket(),
    workers: programs.map(createWorker),
    late: [],
    changed: 0,
    marked: 0,
    kills: 0,
  };
}

export function copyOf(state: State): State {
  const bucket = (of: Bucket): Bucket => ({
    ...of,
    rows: [...of.rows],
    changed: [...of.changed],
    summed: [...of.summed],
  });
  return {
    ...state,
    slice: bucket(state.slice),
    hour: bucket(state.hour),
    day: bucket(state.day),
    workers: state.workers.map((worker) => ({ ...worker })),
    late: [...state.late],
  };
}

/** The sums of a bucket that a query reads, by key. */
function readSums(bucket: Bucket, { counts }: Rules): number[] {
  return bucket.rows.map(([version, value]) => {
    const does =
      counts === 'highest' ||
      (counts === 'equal_to_finished' ? version === bucket.finished : version >= bucket.finished);
    return does ? value : 0;
  });
}

function land(state: State, { level, key, version, value }: Late): void {
  const { rows } = state[level];
  const row = rows[key];
  // If two rows have one key, the higher version stays.
  if (row !== undefined && version > row[0]) rows[key] = [version, value];
}

/** Whether every change of the hour that is marked named its slice. */
function isComplete({ hour, slice }: State): boolean {
  return hour.changed.every((changed, writer) => changed <= (slice.changed[writer] ?? 0));
}

/** Whether a query reads the sums of the slice; see coverageQuery in services/query. */
function isQueried(state: State, { queried }: Rules): boolean {
  const { slice } = state;
  const isSettled = slice.changed.every((changed, i) => changed <= (slice.summed[i] ?? 0));
  return (
    slice.finished > 0 &&
    (queried === 'finished' || isSettled) &&
    (queried !== 'settled_and_named' || isComplete(state))
  );
}

/** Returns the fault of a slice that a query reads now, or null. Each figure must be from after every marked change. */
export function sliceFault(state: State, { states }: Scenario, rules: Rules): string | null {
  if (!isQueried(state, rules)) return null;
  const newestMarked = 32 - Math.clz32(state.marked);
  const since = states.slice(newestMarked, state.changed + 1);
  const sums = readSums(state.slice, rules);
  const isRight = sums.every((value, key) => since.some((values) => values[key] === value));
  return isRight ? null : `slice: ${sums.join(',')} after change ${newestMarked}`;
}

/** Reads and inserts rows, which land one by one; to be called until all have. */
function insert(
  state: State,
  index: number,
  { level, truth, zeros }: { level: Summed; truth: () => Values; zeros: boolean },
): 'read' | 'waits' | 'all_landed' {
  const worker = state.workers[index];
  if (worker?.hasRead === true) {
    if (state.late.some((row) => row.worker === index)) return 'waits';
    worker.hasRead = false;
    return 'all_landed';
  }
  if (worker === undefined) return 'waits';
  worker.hasRead = true;
  for (const [key, value] of truth().entries()) {
    const wasThere = state[level].rows[key]?.[1] !== 0;
    if (value !== 0 || (zeros && wasThere)) {
      state.late.push({ worker: index, level, key, version: worker.version, value });
    }
  }
  return 'read';
}

/** The steps of a round; only hours have slices, and only one that chooses rows leaves them. */
function stepsOf(round: Round, { order, leaves }: Rules): readonly RoundStep[] {
  if (round === 'slices') {
    return order.filter((step) => ROUND_OF_SLICES.some((each) => each === step));
  }
  return order.filter((step) =>
    step === 'leave_slices'
      ? round === 'hour_of_rows' && leaves
      : round === 'hour' || !step.endsWith('_slices'),
  );
}

/** One step of a worker. @returns whether it is able to make one. */
function advance(state: State, index: number, scenario: Scenario, rules: Rules): boolean {
  const worker = state.workers[index];
  const round = worker?.program[worker.at];
  if (worker === undefined || round === undefined || !worker.isAlive) return false;
  const level = round === 'day' ? 'day' : 'hour';
  /** Number of the worker as a writer. */
  const own = scenario.states.length - 1 + index;
  const bucket = state[level];
  const { slice } = state;
  const { zeros } = rules;
  const rows = () => scenario.states[state.changed] ?? [];
  const order = stepsOf(round, rules);
  const step = order[worker.step];
  const hasChangedSlice = worker.seenSlice?.some((seen) => seen > 0) === true;
  const hasSlices = round === 'hour' || round === 'slices';
  const isIdle = step?.endsWith('_slices') === true && hasSlices && !hasChangedSlice;
  switch (isIdle ? 'idle' : step) {
    case 'idle':
      break;
    case 'leave_slices':
      state.hour.changed[own] = (state.hour.changed[own] ?? 0) + 1;
      break;
    case 'read_marks':
      worker.seen = [...bucket.changed];
      worker.seenSlice =
        hasSlices && isComplete(state)
          ? slice.changed.map((changed, i) => (changed > (slice.summed[i] ?? 0) ? changed : 0))
          : null;
      break;
    case 'draw_slices':
    case 'draw_version':
      bucket.drawn += 1;
      worker.version = bucket.drawn;
      break;
    case 'insert_slices': {
      const progress = insert(state, index, { level: 'slice', truth: rows, zeros });
      if (progress !== 'all_landed') return progress === 'read';
      break;
    }
    case 'insert_sums': {
      const isOfSlice =
        worker.seenSlice !== null && (rules.looks === 'before' || isComplete(state));
      const truth =
        level === 'day'
          ? () => readSums(state.hour, rules)
          : isOfSlice
            ? () => readSums(slice, rules)
            : rows;
      const progress = insert(state, index, { level, truth, zeros });
      if (progress !== 'all_landed') return progress === 'read';
      break;
    }
    case 'finish_slices':
      slice.finished = Math.max(slice.finished, worker.version);
      break;
    case 'finish':
      bucket.finished = Math.max(bucket.finished, worker.version);
      break;
    case 'mark_coarser':
      worker.marksSent += 1;
      if (level === 'hour') state.day.changed[own] = worker.marksSent;
      break;
    case 'settle_slices':
      slice.summed = slice.summed.map((through, i) =>
        Math.max(through, worker.seenSlice?.[i] ?? 0),
      );
      break;
    case 'settle':
      bucket.summed = bucket.summed.map((through, i) => Math.max(through, worker.seen[i] ?? 0));
      break;
    case undefined:
      return false;
  }
  worker.step += 1;
  if (worker.step === order.length) {
    Object.assign(worker, { at: worker.at + 1, step: 0, seen: [], seenSlice: null, version: 0 });
  }
  return true;
}

/** Changes a state, or returns false if it cannot. */
export type Move = (state: State) => boolean;

/** Everything that may happen next. */
export function movesOf(scenario: Scenario, rules: Rules): Move[] {
  const workers = scenario.programs.map((_, i) => i);
  const changes = scenario.states.slice(1).map((_, i) => i);
  const keys = scenario.states[0]?.length ?? 0;
  return [
    ...workers.map(
      (i): Move =>
        (state) =>
          advance(state, i, scenario, rules),
    ),
    // Rows land one by one, in any order.
    ...Array.from({ length: workers.length * keys }, (_, i): Move => (state) => {
      const [row] = state.late.splice(i, 1);
      if (row === undefined) return false;
      land(state, row);
      return true;
    }),
    (state) => {
      if (state.changed === changes.length) return false;
      state.changed += 1;
      return true;
    },
    // A change's mark comes after its rows; however late, because a batch is delivered again until it came.
    ...changes.map((i): Move => (state) => {
      if (state.changed <= i || (state.marked & (1 << i)) !== 0) return false;
      state.marked |= 1 << i;
      state.hour.changed[i] = 1;
      if (scenario.unsliced?.includes(i) !== true) state.slice.changed[i] = 1;
      return true;
    }),
    ...workers.map((i): Move => (state) => {
      const worker = state.workers[i];
      if (worker === undefined || state.kills === scenario.killsMax) return false;
      if (!worker.isAlive || worker.at === worker.program.length) return false;
      // Nobody sees what it knew: without it, many states are one.
      state.workers[i] = { ...createWorker([]), isAlive: false };
      state.kills += 1;
      return true;
    }),
  ];
}

export function isOver(state: State, { states }: Scenario): boolean {
  return (
    state.changed === states.length - 1 &&
    state.marked === 2 ** state.changed - 1 &&
    state.workers.every(({ isAlive, at, program }) => !isAlive || at === program.length)
  );
}

/**
 * Sums the buckets that are still marked, with nobody else there, and then lets the rows land that are late by now.
 *
 * @returns the fault of the sums, or null.
 */
export function verdict(end: State, scenario: Scenario, rules: Rules): string | null {
  const state = copyOf(end);
  const late = state.late.splice(0);
  for (const level of ['hour', 'day'] as const) {
    const index = state.workers.push(createWorker([level])) - 1;
    if (!state[level].changed.some((changed, i) => changed > (state[level].summed[i] ?? 0)))
      continue;
    while (advance(state, index, scenario, rules)) {
      for (const row of state.late.splice(0)) land(state, row);
    }
  }
  const truth = scenario.states.at(-1) ?? [];
  for (const row of [null, ...late]) {
    if (row !== null) land(state, row);
    const fault = sliceFault(state, scenario, rules);
    if (fault !== null) return fault;
    for (const level of ['hour', 'day'] as const) {
      const sums = readSums(state[level], rules);
      if (sums.some((value, key) => value !== truth[key])) {
        return `${level}: ${sums.join(',')} instead of ${truth.join(',')}`;
      }
    }
  }
  return null;
}
