import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { aclResults } from './acl.js';

/** The cost of a single operation, or the memory of one object. */
export interface MicroResult {
  readonly name: string;
  readonly value: number;
  readonly unit: 'µs' | 'bytes';
  readonly bound: number | null;
}

const TRACKING_TIMEOUT_MS = 120_000;

/** The cost of tracking is measured in a process of its own, which may collect garbage at any time. */
function trackingResults(): MicroResult[] {
  const script = fileURLToPath(new URL('tracking.js', import.meta.url));
  const output = execFileSync(process.execPath, ['--expose-gc', script, '--json'], {
    encoding: 'utf8',
    timeout: TRACKING_TIMEOUT_MS,
  });
  return (JSON.parse(output) as MicroResult[]).map((row) => ({
    ...row,
    name: `tracking a session: ${row.name}`,
  }));
}

export function runMicro(say: (text: string) => void): MicroResult[] {
  say('single operations of tracking');
  const tracking = trackingResults();
  say('decisions of the ACL');
  return [...tracking, ...aclResults()];
}
