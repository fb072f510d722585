import { describe, expect, test, vi } from 'vitest';
import type { ProcessExit } from '../process/owned.js';
import { createKeeper, type RunningPart } from './keeper.js';
import { createReporter } from './report.js';

/** A part whose end the test decides. */
function createPart(pid: number): RunningPart & { die(exit?: ProcessExit): void } {
  let die: (exit: ProcessExit) => void = () => undefined;
  const exited = new Promise<ProcessExit>((resolve) => {
    die = resolve;
  });
  const end = (exit: ProcessExit): Promise<ProcessExit> => {
    die(exit);
    return exited;
  };
  return {
    pid,
    exited,
    tail: () => ['last words'],
    stop: () => end({ code: 0, signal: null }),
    kill: () => end({ code: null, signal: 'SIGKILL' }),
    die: (exit = { code: 7, signal: null }) => {
      die(exit);
    },
  };
}

function setUp(launch?: (attempt: number) => Promise<RunningPart>) {
  const lines: string[] = [];
  const push = (line: string): void => {
    lines.push(line);
  };
  const parts: ReturnType<typeof createPart>[] = [];
  let attempts = 0;
  const givenUp: string[] = [];
  const keeper = createKeeper(
    {
      name: 'part',
      launch: () => {
        attempts += 1;
        if (launch !== undefined) return launch(attempts);
        const part = createPart(100 + attempts);
        parts.push(part);
        return Promise.resolve(part);
      },
    },
    {
      report: createReporter({ out: push, err: push }),
      onChange: () => undefined,
      onGiveUp: (reason) => {
        givenUp.push(reason);
      },
      firstRestartDelayMs: 1,
    },
  );
  return { keeper, parts, lines, givenUp, attempts: () => attempts };
}

describe('a keeper', () => {
  test('a restart ends the part in order and starts it once, which is no death', async () => {
    const { keeper, lines, attempts } = setUp();
    await keeper.start();
    await keeper.restart();
    expect(keeper.pid()).toBe(102);
    expect(attempts()).toBe(2);
    expect(lines).toEqual([]);
    await keeper.stop();
  });

  test('a part that did not become ready after a restart starts with the next restart', async () => {
    const { keeper } = setUp((attempt) =>
      attempt === 2
        ? Promise.reject(new Error('broken code'))
        : Promise.resolve(createPart(attempt)),
    );
    await keeper.start();
    await expect(keeper.restart()).rejects.toThrow('broken code');
    expect(keeper.pid()).toBeNull();
    await keeper.restart();
    expect(keeper.pid()).toBe(3);
    await keeper.stop();
  });

  test('a part that dies is reported with its last lines and started again', async () => {
    const { keeper, parts, lines } = setUp();
    await keeper.start();
    expect(keeper.pid()).toBe(101);
    parts[0]?.die();
    await vi.waitFor(() => {
      expect(keeper.pid()).toBe(102);
    }, 60_000);
    expect(lines.join('\n')).toMatch(/part has ended unexpectedly \(exit code 7\)[^]*last words/);
    expect(lines.at(-1)).toContain('part runs again');
  });

  test('a part that is stopped is neither reported nor started again', async () => {
    const { keeper, lines, attempts } = setUp();
    await keeper.start();
    await keeper.stop();
    expect(keeper.pid()).toBeNull();
    expect(lines).toEqual([]);
    expect(attempts()).toBe(1);
  });

  test('five deaths within a minute are the end', async () => {
    const { keeper, parts, givenUp, attempts } = setUp();
    await keeper.start();
    for (let death = 1; death <= 5; death += 1) {
      await vi.waitFor(() => {
        expect(keeper.pid()).toBe(100 + death);
      }, 60_000);
      parts[death - 1]?.die();
    }
    await vi.waitFor(() => {
      expect(givenUp).toEqual(['part died 5 times within a minute']);
    }, 60_000);
    expect(attempts()).toBe(5);
  });

  test('a restart that fails counts as a death', async () => {
    const first = createPart(1);
    const { keeper, givenUp, attempts } = setUp((attempt) =>
      attempt === 1 ? Promise.resolve(first) : Promise.reject(new Error('no')),
    );
    await keeper.start();
    first.die();
    await vi.waitFor(() => {
      expect(givenUp).toHaveLength(1);
    }, 60_000);
    expect(attempts()).toBe(5);
  });

  test('a first start that fails is reported to the caller', async () => {
    const { keeper } = setUp(() => Promise.reject(new Error('cannot')));
    await expect(keeper.start()).rejects.toThrow('cannot');
  });

  test('a part that comes up after the stop is killed', async () => {
    const part = createPart(1);
    let arrive: (part: RunningPart) => void = () => undefined;
    const { keeper } = setUp(
      () =>
        new Promise((resolve) => {
          arrive = resolve;
        }),
    );
    const starting = keeper.start();
    const stopped = keeper.stop();
    arrive(part);
    await Promise.all([starting, stopped]);
    expect(await part.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(keeper.pid()).toBeNull();
  });
});
