import { Worker } from 'node:worker_threads';
import { PolicyFileError } from '../policy-file/document.js';
import type { FileProblem } from '../policy-file/document.js';
import { compileAcl } from './compile.js';
import type { AclTables } from './compile.js';
import { parseAclFile } from './file.js';

export interface CompileTask {
  readonly file: string;
  readonly content: string;
}

/** The message of the thread. */
export type CompileAnswer =
  | { readonly tables: AclTables }
  | { readonly problems: readonly FileProblem[] };

/** A file of this size is compiled in a few milliseconds; a larger one would hold up handshakes. */
const IN_PLACE_CHARS = 16 * 1024;

/** Whether a file is small and without repetitions: an alias of YAML repeats its anchor's content. */
function isSmall(content: string): boolean {
  return content.length <= IN_PLACE_CHARS && !content.includes('&');
}

/**
 * Reads and compiles an ACL file, a large one in a thread of its own.
 *
 * @throws PolicyFileError with every problem and its line.
 */
export async function compileAclFile(file: string, content: string): Promise<AclTables> {
  if (isSmall(content)) return compileAcl(parseAclFile(file, content));
  const task: CompileTask = { file, content };
  const worker = new Worker(new URL('./compile-worker.js', import.meta.url), {
    workerData: task,
    name: 'acl',
  });
  return new Promise((resolve, reject) => {
    worker.on('message', (answer: CompileAnswer) => {
      if ('tables' in answer) resolve(answer.tables);
      else reject(new PolicyFileError(file, answer.problems));
    });
    worker.on('error', reject);
    // After an answer this changes nothing.
    worker.on('exit', (code) => {
      reject(new Error(`the thread that compiles the ACL ended with ${code}`));
    });
  });
}
