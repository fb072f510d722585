import { fileURLToPath } from 'node:url';
import { nextSteps } from './supervisor/next-steps.js';
import { createReporter } from './supervisor/report.js';
import { runInTerminal } from './supervisor/run.js';

await runInTerminal({
  root: fileURLToPath(new URL('../../..', import.meta.url)),
  env: process.env,
  report: createReporter({ out: console.log, err: console.error }),
  nextSteps: (product) => nextSteps(product, process.env),
});
