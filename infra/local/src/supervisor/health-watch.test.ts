import { createServer, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { probeKafka } from '../kafka/probe.js';
import { createHealthWatch, type WatchedPart } from './health-watch.js';
import { createReporter } from './report.js';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).toReversed()) cleanup();
});

/** The reports of a watch of one part. */
function watch(part: WatchedPart): string[] {
  const lines: string[] = [];
  const push = (line: string): void => {
    lines.push(line);
  };
  const made = createHealthWatch([part], {
    report: createReporter({ out: push, err: push }),
    checkDisk: () => Promise.resolve(),
    intervalMs: 5,
  });
  made.start();
  cleanups.push(() => {
    made.stop();
  });
  return lines;
}

describe('the watch over the processes of npm start', () => {
  test('names a part that hangs, once, and reports when it answers again', async () => {
    let problem: string | null = null;
    const ask = vi.fn(() => Promise.resolve(problem));
    const lines = watch({ name: 'ClickHouse', isUp: () => true, problem: ask });
    const asked = async (times: number): Promise<void> => {
      const before = ask.mock.calls.length;
      await vi.waitFor(() => {
        expect(ask.mock.calls.length).toBeGreaterThan(before + times);
      }, 60_000);
    };
    await asked(3);
    expect(lines).toEqual([]);
    problem = 'no answer';
    await asked(5);
    expect(lines.join('\n')).toMatch(/ClickHouse is not ready: no answer/);
    expect(lines).toHaveLength(1);
    problem = null;
    await asked(3);
    expect(lines.slice(1).join('\n')).toMatch(/ClickHouse is ready again/);
    expect(lines).toHaveLength(2);
  });

  test('leaves a part that is down to its keeper', async () => {
    const ask = vi.fn(() => Promise.resolve('no answer'));
    let looks = 0;
    const lines = watch({
      name: 'Kafka',
      isUp: () => {
        looks += 1;
        return false;
      },
      problem: ask,
    });
    await vi.waitFor(() => {
      expect(looks).toBeGreaterThan(5);
    }, 60_000);
    expect(ask).not.toHaveBeenCalled();
    expect(lines).toEqual([]);
  });

  test('a Kafka that accepts connections and never answers is reported', async () => {
    const silent = createServer();
    await new Promise<void>((resolve) => {
      silent.listen(0, '127.0.0.1', resolve);
    });
    cleanups.push(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    await expect(probeKafka('127.0.0.1', port, 30)).rejects.toThrow('no answer');
  });
});
