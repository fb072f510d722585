/** Entry of the thread that reads and compiles a large ACL file. */
import { parentPort, workerData } from 'node:worker_threads';
import { PolicyFileError } from '../policy-file/document.js';
import type { CompileAnswer, CompileTask } from './compile-file.js';
import { compileAcl } from './compile.js';
import { parseAclFile } from './file.js';

function answerTo({ file, content }: CompileTask): CompileAnswer {
  try {
    return { tables: compileAcl(parseAclFile(file, content)) };
  } catch (error) {
    if (!(error instanceof PolicyFileError)) throw error;
    return { problems: error.problems };
  }
}

/** The memory of typed arrays moves to the other thread; the rest of an answer is copied. */
function* buffersOf(value: unknown): Generator<ArrayBuffer> {
  if (ArrayBuffer.isView(value)) {
    if (value.buffer instanceof ArrayBuffer) yield value.buffer;
  } else if (value instanceof Map) {
    for (const one of value.values()) yield* buffersOf(one);
  } else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const one of Object.values(value)) yield* buffersOf(one);
  }
}

if (parentPort === null) throw new Error('this is the entry of a worker thread');
const answer = answerTo(workerData as CompileTask);
parentPort.postMessage(answer, [...buffersOf(answer)]);
