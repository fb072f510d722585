import { describe, expect, it, vi } from 'vitest';
import { HashQueue } from './hash-queue.js';
import type { HashOutcome } from './hash-queue.js';

/** A queue whose hashes end when the test ends them. */
function controlled(maxWaiting = 100): {
  readonly queue: HashQueue;
  /** Keys in the order in which they were hashed. */
  readonly hashed: string[];
  readonly enter: (
    key: string,
    source: string,
    options?: { isProven?: boolean; signal?: AbortSignal },
  ) => Promise<HashOutcome>;
  /** Ends the hash that runs. */
  readonly finish: () => Promise<void>;
} {
  const queue = new HashQueue({ concurrency: 1, max_waiting: maxWaiting, deadline_ms: 10_000 });
  const hashed: string[] = [];
  let end: (isRight: boolean) => void = () => undefined;
  return {
    queue,
    hashed,
    enter: (key, source, { isProven = false, signal } = {}) =>
      queue.run(
        {
          key,
          networks: [source],
          isProven,
          hash: () => {
            hashed.push(key);
            return new Promise((resolve) => {
              end = resolve;
            });
          },
        },
        signal,
      ),
    finish: async () => {
      const before = hashed.length;
      end(false);
      await vi.waitFor(() => {
        expect(queue.waiting === 0 || hashed.length > before).toBe(true);
      }, 60_000);
    },
  };
}

describe('the queue of passwords to hash', () => {
  it('serves a source that has one login after one of each source that floods', async () => {
    const { enter, finish, hashed } = controlled();
    for (let n = 0; n < 10; n += 1) {
      for (const source of ['a', 'b', 'c']) void enter(`${source}${n}`, source);
    }
    void enter('quiet', 'd');
    for (let n = 0; n < 5; n += 1) await finish();
    expect(hashed).toContain('quiet');
  });

  it('does not hash for a client that has left, unless another waits for the same', async () => {
    const { enter, finish, hashed, queue } = controlled();
    void enter('running', 'a');
    const [leaver, sharer] = [new AbortController(), new AbortController()];
    const left = enter('left', 'b', { signal: leaver.signal });
    const shared = enter('shared', 'b', { signal: sharer.signal });
    const stays = enter('shared', 'c');
    leaver.abort();
    sharer.abort();
    expect(await Promise.all([left, shared])).toEqual(['left', 'left']);
    expect(queue.waiting).toBe(1);
    await finish();
    await finish();
    expect(await stays).toBe('wrong');
    expect(hashed).toEqual(['running', 'shared']);
  });

  it('serves logins from recent addresses of a user before all others', async () => {
    const { enter, finish, hashed } = controlled();
    void enter('running', 'a');
    for (const n of [1, 2, 3]) void enter(`guess${n}`, `a${n}`);
    void enter('proven', 'b', { isProven: true });
    await finish();
    expect(hashed).toEqual(['running', 'proven']);
  });

  it('when full, takes a place from the largest source', async () => {
    const { enter, finish, hashed } = controlled(3);
    void enter('running', 'a');
    const flood = [1, 2, 3].map((n) => enter(`a${n}`, 'a'));
    expect(await enter('a4', 'a')).toBe('busy');
    const other = enter('b1', 'b');
    expect(await flood[0]).toBe('busy');
    for (let n = 0; n < 4; n += 1) await finish();
    expect(await other).toBe('wrong');
    expect(hashed).toHaveLength(4);
  });

  it('lets no more wait than can be hashed before their deadline', async () => {
    const queue = new HashQueue({ concurrency: 2, max_waiting: 1_000, deadline_ms: 500 });
    const slow = vi.spyOn(performance, 'now');
    slow.mockReturnValueOnce(0).mockReturnValueOnce(100);
    const job = { networks: ['a'], isProven: false, hash: () => Promise.resolve(true) };
    expect(await queue.run({ key: 'first', ...job })).toBe('right');
    slow.mockRestore();
    expect(queue.capacity).toBe(10);
  });
});
