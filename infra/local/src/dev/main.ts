import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nextSteps } from '../supervisor/next-steps.js';
import { createReporter } from '../supervisor/report.js';
import { runInTerminal } from '../supervisor/run.js';
import type { RunningProduct } from '../supervisor/supervisor.js';
import { workFor } from './parts.js';
import { watchSources } from './watcher.js';

const HELP = `Runs the product as npm start does, and builds and restarts each service that you change.

  npm run dev
  LOG_LEVEL=debug npm run dev      # every setting of npm start holds`;

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const report = createReporter({ out: console.log, err: console.error });
/** A restarted proxy does not wait for sessions to end. */
const env = { PROXY_DRAIN_TIMEOUT: '100ms', ...process.env };
let watcher: { stop(): void } | null = null;

/** Runs a program of the installed packages. @returns whether it succeeded. */
function run([program = '', ...args]: readonly string[]): Promise<boolean> {
  const path = [join(root, 'node_modules', '.bin'), process.env['PATH']].join(delimiter);
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, PATH: path },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return new Promise((resolve) => {
    child.once('error', () => {
      resolve(false);
    });
    child.once('close', (code) => {
      resolve(code === 0);
    });
  });
}

async function takeIn(files: readonly string[], product: RunningProduct): Promise<void> {
  const { builds, services } = workFor(files);
  if (services.length === 0) return;
  const began = performance.now();
  const built = await Promise.all(builds.map(run));
  if (built.includes(false)) {
    report.problem(`The build failed: ${services.join(', ')} still run the previous code.`);
    return;
  }
  await Promise.all(services.map((name) => product.restart(name)));
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  report.line(`${services.join(', ')} restarted with ${files.join(', ')} (${seconds} s)`);
}

await runInTerminal({
  help: HELP,
  root,
  env,
  report,
  nextSteps: (product) => [...nextSteps(product, env), 'Change a source:  it is built and runs'],
  company: {
    start(product) {
      watcher = watchSources(root, {
        onChange: (files) => takeIn(files, product),
        onProblem: (text) => {
          report.problem(text);
        },
      });
      return Promise.resolve();
    },
    stop() {
      watcher?.stop();
      return Promise.resolve();
    },
  },
});
