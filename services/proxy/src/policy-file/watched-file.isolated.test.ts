import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PolicyFileError } from './document.js';
import { createWatchedFile } from './watched-file.js';
import type { LoadResult, WatchedFile } from './watched-file.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000, interval: 5 };

// A process out of descriptors could not run a test; a disk that fails cannot be had.
vi.mock('node:fs/promises', async (load) => {
  const real = await load<typeof fs>();
  return { ...real, open: vi.fn(real.open), stat: vi.fn(real.stat) };
});
const open = vi.mocked(fs.open);
const stat = vi.mocked(fs.stat);

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: no`), { code });
}

describe('a watched file', () => {
  let dir: string;
  let path: string;
  let watched: WatchedFile | null;
  let onContent: (text: string) => void;
  let contents: string[];
  let reports: LoadResult[];

  beforeEach(async () => {
    dir = await fs.mkdtemp(join(tmpdir(), 'sockscope-watched-'));
    path = join(dir, 'policy.yaml');
    contents = [];
    reports = [];
    onContent = () => undefined;
    await fs.writeFile(path, 'one');
    watched = createWatchedFile(
      { path, interval_ms: 5, settle_ms: 5, max_bytes: 1_000 },
      {
        onContent: (text) => {
          contents.push(text);
          onContent(text);
        },
        onLoad: (result) => {
          reports.push(result);
        },
      },
    );
    await watched.start();
    contents = [];
  });
  afterEach(async () => {
    await watched?.stop();
    // A failed test may leave unused mock results.
    open.mockReset();
    await fs.rm(dir, { recursive: true, force: true });
  });

  const messages = () => reports.map((r) => (r.ok ? 'taken in' : r.error.message));

  /** Resolves when the file has been looked at some more times. */
  async function looks(count = 6): Promise<void> {
    const before = stat.mock.calls.length;
    await vi.waitFor(() => {
      expect(stat.mock.calls.length).toBeGreaterThanOrEqual(before + count);
    }, WAIT);
  }

  it('is loaded although it could not be read at first, and each failure is reported once', async () => {
    for (const code of ['EMFILE', 'EMFILE', 'EMFILE', 'EIO'])
      open.mockRejectedValueOnce(errno(code));
    await fs.writeFile(path, 'two');
    await vi.waitFor(() => {
      expect(contents).toEqual(['two']);
    }, WAIT);
    await looks();
    expect(messages()).toEqual(['EMFILE: no', 'EIO: no', 'taken in']);
  });

  it('is taken in although nothing could be made of it at first', async () => {
    let failures = 2;
    onContent = () => {
      failures -= 1;
      if (failures >= 0) throw errno('ERR_WORKER_INIT_FAILED');
    };
    await fs.writeFile(path, 'two');
    await vi.waitFor(() => {
      expect(messages()).toEqual(['ERR_WORKER_INIT_FAILED: no', 'taken in']);
    }, WAIT);
    expect(contents).toEqual(['two', 'two', 'two']);
  });

  it('is reported as missing once, and is in force again when it returns unchanged', async () => {
    await fs.rename(path, `${path}.away`);
    await vi.waitFor(() => {
      expect(reports).toHaveLength(1);
    }, WAIT);
    await looks();
    expect(reports).toHaveLength(1);
    await fs.rename(`${path}.away`, path);
    await vi.waitFor(() => {
      expect(messages()).toEqual([expect.stringMatching(/ENOENT/), 'taken in']);
    }, WAIT);
    expect(contents).toEqual(['one']);
  });

  it('is read once if it is invalid, until it changes', async () => {
    onContent = (text) => {
      if (text === 'bad') throw new PolicyFileError(path, [{ line: 1, message: 'bad' }]);
    };
    await fs.writeFile(path, 'bad');
    await vi.waitFor(() => {
      expect(reports).toHaveLength(1);
    }, WAIT);
    await looks();
    expect(contents).toEqual(['bad']);
    await fs.writeFile(path, 'good');
    await vi.waitFor(() => {
      expect(contents).toEqual(['bad', 'good']);
    }, WAIT);
    expect(reports.map((r) => r.ok)).toEqual([false, true]);
  });

  it('reports the same failure again after a request to reload', async () => {
    await fs.rm(path);
    await vi.waitFor(() => {
      expect(reports).toHaveLength(1);
    }, WAIT);
    expect(await watched?.reload()).toMatchObject({ ok: false });
    expect(reports).toHaveLength(2);
  });
});
