import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createTurns } from './turns.js';

const READ = 64 * 1024;

function taker(): { turns: number; takeTurn(): void } {
  return {
    turns: 0,
    takeTurn() {
      this.turns += 1;
    },
  };
}

describe('turns', () => {
  it('let one direction read on until the share of the turn is used up, and again in the next', async () => {
    const turns = createTurns();
    const only = taker();
    for (let round = 1; round <= 3; round += 1) {
      let reads = 1;
      while (turns.spend(READ, only)) reads += 1;
      expect(reads).toBe(8);
      expect(only.turns).toBe(round - 1);
      await turn();
      expect(only.turns).toBe(round);
    }
  });

  it('let each of many read once, and call all of them back', async () => {
    const turns = createTurns();
    const many = Array.from({ length: 100 }, taker);
    const mayGoOn = many.filter((each) => turns.spend(READ, each));
    expect(mayGoOn).toHaveLength(7);
    await turn();
    expect(many.map((each) => each.turns)).toEqual(
      many.map((each) => (mayGoOn.includes(each) ? 0 : 1)),
    );
  });

  it('count what one turn spent for that turn alone', async () => {
    const turns = createTurns();
    const quiet = taker();
    for (let i = 0; i < 100; i += 1) {
      expect(turns.spend(READ, quiet)).toBe(true);
      await turn();
    }
    expect(quiet.turns).toBe(0);
  });

  it('may be taken by one that spends all of it at once', async () => {
    const turns = createTurns();
    let calls = 0;
    const greedy = {
      takeTurn() {
        calls += 1;
        if (calls < 5) turns.spend(10 * READ, greedy);
      },
    };
    turns.spend(10 * READ, greedy);
    for (let i = 0; i < 20; i += 1) await turn();
    expect(calls).toBe(5);
  });
});
