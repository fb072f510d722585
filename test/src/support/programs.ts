import { execFile, spawnSync } from 'node:child_process';

/** The first of these programs that is installed. */
export function findProgram(...names: readonly string[]): string | null {
  for (const name of names) {
    const found = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', name], {
      env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    });
    const path = found.stdout.toString('utf8').trim();
    if (path !== '') return path;
  }
  return null;
}

/**
 * Whether a test that needs a program can run; otherwise one line explains how to get it. With
 * SOCKSCOPE_REQUIRE_CLIENTS, as in CI, a missing one is an error.
 */
export function needs(program: string | null, what: string, howToGet: string): boolean {
  if (program !== null) return true;
  const line = `${what} is not installed; its tests are skipped (${howToGet})`;
  if (process.env['SOCKSCOPE_REQUIRE_CLIENTS'] === '1') throw new Error(line);
  console.warn(line);
  return false;
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const TIMEOUT_MS = 60_000;

/** Runs a program to its end, for at most a minute. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly input?: Buffer | string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      {
        encoding: 'buffer',
        timeout: TIMEOUT_MS,
        killSignal: 'SIGKILL',
        maxBuffer: 64 * 1024 * 1024,
        env: { ...process.env, ...options.env },
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
        resolve({ code, stdout, stderr: stderr.toString('utf8') });
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
  });
}
