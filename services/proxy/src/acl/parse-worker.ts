/** Entry of the thread that reads a large ACL file. */
import { parentPort, workerData } from 'node:worker_threads';
import { PolicyFileError } from '../policy-file/document.js';
import { parseAclFile } from './file.js';
import type { ParseAnswer, ParseTask } from './parse.js';

function answerTo({ file, content }: ParseTask): ParseAnswer {
  try {
    return { policy: parseAclFile(file, content) };
  } catch (error) {
    if (error instanceof PolicyFileError) return { problems: error.problems };
    throw error;
  }
}

if (parentPort === null) throw new Error('this is the entry of a worker thread');
const port = parentPort;
port.postMessage(answerTo(workerData as ParseTask));
