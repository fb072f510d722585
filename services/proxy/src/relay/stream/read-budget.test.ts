import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createReadBudget } from './read-budget.js';

const READ = 64 * 1024;

function taker(): { turns: number; budgetRenewed(): void } {
  return {
    turns: 0,
    budgetRenewed() {
      this.turns += 1;
    },
  };
}

describe('the read budget of a turn', () => {
  it('lets one direction read on until the share of the turn is used up, and again in the next', async () => {
    const budget = createReadBudget();
    const only = taker();
    for (let round = 1; round <= 3; round += 1) {
      let reads = 1;
      while (budget.spend(READ, only)) reads += 1;
      expect(reads).toBe(8);
      expect(only.turns).toBe(round - 1);
      await turn();
      expect(only.turns).toBe(round);
    }
  });

  it('lets each of many read once, and call all of them back', async () => {
    const budget = createReadBudget();
    const many = Array.from({ length: 100 }, taker);
    const mayGoOn = many.filter((each) => budget.spend(READ, each));
    expect(mayGoOn).toHaveLength(7);
    await turn();
    expect(many.map((each) => each.turns)).toEqual(
      many.map((each) => (mayGoOn.includes(each) ? 0 : 1)),
    );
  });

  it('counts the reads of one turn for that turn only', async () => {
    const budget = createReadBudget();
    const quiet = taker();
    for (let i = 0; i < 100; i += 1) {
      expect(budget.spend(READ, quiet)).toBe(true);
      await turn();
    }
    expect(quiet.turns).toBe(0);
  });

  it('may be spent by a single direction at once', async () => {
    const budget = createReadBudget();
    let calls = 0;
    const greedy = {
      budgetRenewed() {
        calls += 1;
        if (calls < 5) budget.spend(10 * READ, greedy);
      },
    };
    budget.spend(10 * READ, greedy);
    for (let i = 0; i < 20; i += 1) await turn();
    expect(calls).toBe(5);
  });
});
