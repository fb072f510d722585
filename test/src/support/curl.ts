import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';

const TIMEOUT_SECONDS = 60;

/** The counts of curl itself. */
export interface CurlReport {
  readonly exitCode: number;
  readonly http_code: number;
  /** The client's port, which the proxy records as `source_port`. */
  readonly local_port: number;
  readonly size_download: number;
  readonly size_upload: number;
  readonly size_header: number;
  readonly size_request: number;
}

export const hasCurl = spawnSync('curl', ['--version']).status === 0;

function argumentsOf(socks: string, args: readonly string[]): string[] {
  return [
    '--silent',
    '--max-time',
    String(TIMEOUT_SECONDS),
    // Without it curl asks before a larger upload, and the answer would not be in its counts.
    '--header',
    'Expect:',
    '--socks5-hostname',
    socks,
    '--output',
    '/dev/null',
    '--write-out',
    '%{json}',
    ...args,
  ];
}

/** Runs the real curl through the proxy. */
export function curl(socks: string, ...args: string[]): Promise<CurlReport> {
  return new Promise((resolve) => {
    execFile('curl', argumentsOf(socks, args), (error, stdout) => {
      const exitCode = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
      resolve({ ...(JSON.parse(stdout || '{}') as Omit<CurlReport, 'exitCode'>), exitCode });
    });
  });
}

/** The same, left running. */
export function startCurl(socks: string, ...args: string[]): ChildProcess {
  return spawn('curl', argumentsOf(socks, args), { stdio: 'ignore' });
}
