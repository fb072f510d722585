import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Job, JobReply, JobResult, Via } from './protocol.js';

/** Longer than any job takes. */
const JOB_TIMEOUT_MS = 180_000;

export interface Generator {
  run(job: Job, via: Via): Promise<JobResult>;
  stop(): Promise<void>;
}

export async function startGenerator(): Promise<Generator> {
  const child = fork(fileURLToPath(new URL('main.js', import.meta.url)), { stdio: 'inherit' });
  const next = async (): Promise<JobReply> => {
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, AbortSignal.timeout(JOB_TIMEOUT_MS)]);
    try {
      const [message] = (await Promise.race([
        once(child, 'message', { signal }),
        once(child, 'exit', { signal }).then(([code]) => {
          throw new Error(`the load generator ended with ${String(code)}`);
        }),
      ])) as [JobReply];
      return message;
    } finally {
      done.abort();
    }
  };
  await next();
  return {
    async run(job, via) {
      child.send({ job, via });
      const reply = await next();
      if ('result' in reply) return reply.result;
      throw new Error('error' in reply ? reply.error : 'the load generator is out of step');
    },
    async stop() {
      if (child.exitCode !== null) return;
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
