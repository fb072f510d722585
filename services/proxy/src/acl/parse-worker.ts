/** Entry of the thread that reads a large ACL file. */
import { parentPort, workerData } from 'node:worker_threads';
import { PolicyFileError } from '../policy-file/document.js';
import { parseAclFile } from './file.js';
import { RULES_PER_MESSAGE } from './parse.js';
import type { ParseAnswer, ParseTask } from './parse.js';

function* answersTo({ file, content }: ParseTask): Generator<ParseAnswer> {
  try {
    const { rules, default: byDefault } = parseAclFile(file, content);
    for (let at = 0; at < rules.length; at += RULES_PER_MESSAGE) {
      yield { rules: rules.slice(at, at + RULES_PER_MESSAGE) };
    }
    yield { default: byDefault };
  } catch (error) {
    if (!(error instanceof PolicyFileError)) throw error;
    yield { problems: error.problems };
  }
}

if (parentPort === null) throw new Error('this is the entry of a worker thread');
const port = parentPort;
for (const answer of answersTo(workerData as ParseTask)) port.postMessage(answer);
