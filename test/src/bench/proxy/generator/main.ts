/** The load generator: a process of its own, so that its work is not the proxy's. */
import { runJob } from './jobs.js';
import { startOrigin } from './origin.js';
import type { JobReply, JobRequest } from './protocol.js';

const origin = await startOrigin();
const reply = (message: JobReply): void => {
  process.send?.(message);
};
process.on('message', ({ job, via }: JobRequest) => {
  runJob(job, via, origin).then(
    (result) => {
      reply({ result });
    },
    (error: unknown) => {
      reply({ error: String(error) });
    },
  );
});
process.on('disconnect', () => {
  process.exit();
});
reply({ ready: true });
