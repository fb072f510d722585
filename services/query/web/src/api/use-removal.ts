import { useSignal } from '@preact/signals';
import { send } from './client.js';
import { Problem } from './problem.js';

export interface Removal {
  /** Why the last removal failed; null if it did not. */
  readonly problem: Problem | null;
  /** Sends `DELETE`. With a question only if the person confirms it. */
  readonly remove: (path: string, question?: string) => void;
}

/** Removes things of a list. @param done reads the list again, whether it worked or not. */
export function useRemoval(done: () => void): Removal {
  const problem = useSignal<Problem | null>(null);
  const remove = async (path: string): Promise<void> => {
    try {
      await send(path, {}, 'DELETE');
      problem.value = null;
    } catch (error) {
      problem.value = Problem.of(error);
    }
    done();
  };
  return {
    problem: problem.value,
    remove: (path, question) => {
      if (question === undefined || window.confirm(question)) void remove(path);
    },
  };
}
