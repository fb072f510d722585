/**
 * The bytes that all sessions may read in one turn of the event loop: about half a millisecond of copying.
 * Node itself continues to read a busy socket up to 32 times in a row, 2 MiB of it, and a handshake
 * needs several turns.
 */
const TURN_BYTES = 512 * 1024;

/** A direction that waits for the next turn. */
export interface BudgetWaiter {
  budgetRenewed(): void;
}

/**
 * Shares every turn of the event loop among the directions that read in this process, so that
 * transfers do not hold up handshakes. Each reads at least once a turn.
 */
export interface ReadBudget {
  /** Notes a read. False if this turn's share is used up: read no more, `budgetRenewed` will be called. */
  spend(bytes: number, who: BudgetWaiter): boolean;
}

export function createReadBudget(): ReadBudget {
  let left = TURN_BYTES;
  let isArmed = false;
  let waiting: BudgetWaiter[] = [];

  function next(): void {
    isArmed = false;
    left = TURN_BYTES;
    const takers = waiting;
    waiting = [];
    for (const taker of takers) taker.budgetRenewed();
  }

  return {
    spend(bytes, who) {
      left -= bytes;
      // After the sockets' events of this turn, before the next turn's.
      if (!isArmed) setImmediate(next);
      isArmed = true;
      if (left > 0) return true;
      waiting.push(who);
      return false;
    },
  };
}
