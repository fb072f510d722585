import { seededRandom } from '@sockscope/schemas/testing';
import { describe, expect, it } from 'vitest';
import { copyOf, initial, isOver, movesOf, sliceFault, verdict } from './model.js';
import type { Rules, Scenario, State } from './model.js';
import { ROUND } from './round.js';

const RULES: Rules = {
  order: ROUND,
  counts: 'at_least_finished',
  zeros: false,
  looks: 'before_and_after',
  leaves: true,
  queried: 'settled_and_named',
};
/** Random interleavings of three workers; more with SOCKSCOPE_CHAOS=full. */
const SAMPLES = process.env['SOCKSCOPE_CHAOS'] === 'full' ? 20_000 : 5_000;
/** A session fails, sends events again, and fails. */
const FORTH_AND_BACK = [
  [1, 0],
  [0, 1],
  [1, 0],
];

/** Visits every reachable state once. @returns the fault of the first wrong end, or of a slice that a query reads. */
function enumerate(
  scenario: Scenario,
  rules: Rules,
): { states: number; ends: number; wrong: string | null } {
  const moves = movesOf(scenario, rules);
  const seen = new Set<string>();
  const open: State[] = [initial(scenario)];
  let ends = 0;
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const fault = sliceFault(state, scenario, rules);
    if (fault !== null) return { states: seen.size, ends, wrong: fault };
    if (isOver(state, scenario)) {
      ends += 1;
      const wrong = verdict(state, scenario, rules);
      if (wrong !== null) return { states: seen.size, ends, wrong };
    }
    let next = copyOf(state);
    for (const move of moves) {
      // A move that is impossible changes nothing.
      if (!move(next)) continue;
      const key = JSON.stringify(next);
      if (!seen.has(key)) open.push(next);
      seen.add(key);
      next = copyOf(state);
    }
  }
  return { states: seen.size, ends, wrong: null };
}

const TWO_HOURS: Scenario = { programs: [['hour'], ['hour']], states: FORTH_AND_BACK, killsMax: 2 };
const HOURS_AND_DAYS: Scenario = {
  programs: [['hour', 'day'], ['day']],
  states: FORTH_AND_BACK,
  killsMax: 1,
};

/** One of the rounds chooses to make the hour from rows, because many slices have changed or the hour is old. */
const ONE_OF_ROWS: Scenario = {
  ...TWO_HOURS,
  programs: [['hour'], ['hour_of_rows']],
  killsMax: 1,
};

/** The newest slices are summed alone, beside a round of the whole hour. */
const SLICES_ALONE: Scenario = { ...TWO_HOURS, programs: [['slices'], ['hour']] };

/** A process of the version before makes one of the changes. */
const FIRST_UNSLICED: Scenario = { ...TWO_HOURS, killsMax: 1, unsliced: [0] };
const SECOND_UNSLICED: Scenario = { ...FIRST_UNSLICED, unsliced: [1] };

describe('rounds of sums', () => {
  it.each<[string, Scenario, leastEnds: number]>([
    [
      'two simultaneous rounds of an hour, killed while the state changes back and forth,',
      TWO_HOURS,
      400,
    ],
    ['rounds of an hour and of its day at once', HOURS_AND_DAYS, 100],
    ['a round of an hour from slices and one from rows at once', ONE_OF_ROWS, 400],
    ['rounds of an hour whose first change names no slice', FIRST_UNSLICED, 300],
    ['rounds of an hour whose second change names no slice', SECOND_UNSLICED, 400],
    ['a round of slices alone and one of their hour', SLICES_ALONE, 100],
    [
      'rounds of slices alone, of which one is followed by a round of their hour,',
      { ...TWO_HOURS, programs: [['slices', 'hour'], ['slices']], killsMax: 1 },
      100,
    ],
    [
      'a round of slices alone and one of their hour from rows',
      { ...TWO_HOURS, programs: [['slices'], ['hour_of_rows']], killsMax: 1 },
      100,
    ],
    [
      'a round of slices alone and one of an hour whose second change names no slice',
      { ...SECOND_UNSLICED, programs: SLICES_ALONE.programs },
      100,
    ],
  ])('%s are never wrong', (_, scenario, leastEnds) => {
    const { ends, wrong } = enumerate(scenario, RULES);
    expect(wrong).toBeNull();
    expect(ends).toBeGreaterThan(leastEnds);
  });

  const swapped = (one: (typeof ROUND)[number], other: (typeof ROUND)[number]) =>
    ROUND.map((step) => (step === one ? other : step === other ? one : step));

  it.each<[string, Scenario, Partial<Rules>]>([
    ['only rows equal to the finished version count', TWO_HOURS, { counts: 'equal_to_finished' }],
    ['the highest version counts whether it is finished or not', TWO_HOURS, { counts: 'highest' }],
    [
      'the highest version counts and gone keys become zeros',
      TWO_HOURS,
      { counts: 'highest', zeros: true },
    ],
    [
      'the version is drawn before the marks are read',
      TWO_HOURS,
      { order: swapped('read_marks', 'draw_version') },
    ],
    [
      'marks are settled before the version is finished',
      TWO_HOURS,
      { order: swapped('finish', 'settle') },
    ],
    [
      'marks are settled before the day is marked',
      HOURS_AND_DAYS,
      { order: swapped('mark_coarser', 'settle') },
    ],
    [
      'the version of an hour is drawn before its slices are finished',
      { ...TWO_HOURS, killsMax: 0 },
      {
        order: ROUND.toSpliced(ROUND.indexOf('draw_version'), 1).toSpliced(
          ROUND.indexOf('draw_slices'),
          0,
          'draw_version',
        ),
      },
    ],
    ...[TWO_HOURS, SLICES_ALONE].map((scenario): [string, Scenario, Partial<Rules>] => [
      'slices are settled before their version is finished',
      scenario,
      { order: swapped('finish_slices', 'settle_slices') },
    ]),
    [
      'a round that chooses rows does not mark that before it draws its version',
      ONE_OF_ROWS,
      { leaves: false },
    ],
    [
      'an hour is made from slices because no mark was without one before',
      SECOND_UNSLICED,
      { looks: 'before' },
    ],
    ['a query reads slices that have changed', TWO_HOURS, { queried: 'finished' }],
    [
      'a query reads slices of an hour of which a change named none',
      SECOND_UNSLICED,
      { queried: 'settled' },
    ],
  ])('are found to be wrong by this model if %s', (_, scenario, broken) => {
    expect(enumerate(scenario, { ...RULES, ...broken }).wrong).not.toBeNull();
  });

  it('three workers over hours and days are never wrong in random interleavings', () => {
    const scenario: Scenario = {
      programs: [
        ['hour', 'day', 'slices', 'hour'],
        ['slices', 'hour_of_rows', 'day'],
        ['day', 'hour', 'day'],
      ],
      states: [...FORTH_AND_BACK, [0, 0], [1, 1]],
      killsMax: 2,
    };
    const moves = movesOf(scenario, RULES);
    const random = seededRandom(1);
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const state = initial(scenario);
      while (!isOver(state, scenario)) {
        // Kills are the last ones: rarely, or hardly a round would end.
        const among = random() < 0.02 ? moves.length : moves.length - scenario.programs.length;
        moves[Math.floor(random() * among)]?.(state);
      }
      expect(verdict(state, scenario, RULES), `sample ${sample}`).toBeNull();
    }
  });
});
