import { Worker } from 'node:worker_threads';
import { PolicyFileError } from '../policy-file/document.js';
import type { FileProblem } from '../policy-file/document.js';
import { parseAclFile } from './file.js';
import type { AclPolicy, AclRule } from './rules.js';

export interface ParseTask {
  readonly file: string;
  readonly content: string;
}

/** What the thread sends: rules in their order, some at a time, then the rest. */
export type ParseAnswer =
  | { readonly rules: readonly AclRule[] }
  | { readonly default: AclPolicy['default'] }
  | { readonly problems: readonly FileProblem[] };

/** Rules in one message: taking 20,000 of them over at once would hold up handshakes for 0.2 s. */
export const RULES_PER_MESSAGE = 500;

/** A file of this size is read in a few milliseconds; a larger one would hold up handshakes. */
const IN_PLACE_CHARS = 16 * 1024;

/**
 * Reads an ACL file, a large one in a thread of its own: parsing 5,000 rules takes 0.4 s.
 *
 * @throws PolicyFileError with every problem and its line.
 */
export async function parseAcl(file: string, content: string): Promise<AclPolicy> {
  if (content.length <= IN_PLACE_CHARS) return parseAclFile(file, content);
  const task: ParseTask = { file, content };
  const worker = new Worker(new URL('./parse-worker.js', import.meta.url), {
    workerData: task,
    name: 'acl',
  });
  const rules: AclRule[] = [];
  return new Promise((resolve, reject) => {
    worker.on('message', (answer: ParseAnswer) => {
      if ('rules' in answer) rules.push(...answer.rules);
      else if ('default' in answer) resolve({ default: answer.default, rules });
      else reject(new PolicyFileError(file, answer.problems));
    });
    worker.on('error', reject);
    // After an answer this changes nothing.
    worker.on('exit', (code) => {
      reject(new Error(`the thread that reads the ACL ended with ${code}`));
    });
  });
}
