import { EXIT } from './service.js';

/** One line of a check. `note`: nothing is missing, or it could not be seen. */
export interface Finding {
  readonly state: 'ok' | 'missing' | 'note';
  readonly text: string;
}

/** Prints the findings, one a line, and sets the exit code: 1 if anything is missing. */
export function checkReport(findings: readonly Finding[]): void {
  for (const { state, text } of findings) process.stdout.write(`${state.padEnd(7)}  ${text}\n`);
  if (findings.some(({ state }) => state === 'missing')) process.exitCode = EXIT.failed;
}
