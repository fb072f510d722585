import { fileURLToPath } from 'node:url';
import { messageOf } from '@sockscope/runtime';
import { loadLocalConfig } from './supervisor/config.js';
import { createReporter } from './supervisor/report.js';
import { createSupervisor } from './supervisor/supervisor.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
/** npm passes a Ctrl-C on that the terminal has already delivered: the two are one. */
const SAME_SIGNAL_MS = 500;
const PARENT_POLL_MS = 1_000;
const EXIT = { ok: 0, failed: 1, config: 2, interrupted: 130 } as const;

const report = createReporter({ out: console.log, err: console.error });

async function main(): Promise<void> {
  let config;
  try {
    config = loadLocalConfig(process.env);
  } catch (error) {
    report.problem(messageOf(error));
    process.exit(EXIT.config);
  }
  const supervisor = createSupervisor(config, { report, root, env: process.env });
  let stoppingSince: number | null = null;

  async function end(exitCode: number): Promise<never> {
    stoppingSince ??= Date.now();
    try {
      await supervisor.stop();
    } catch (error) {
      report.problem(messageOf(error));
      await supervisor.kill();
      process.exit(EXIT.failed);
    }
    report.line('stopped');
    process.exit(exitCode);
  }

  function onSignal(): void {
    if (stoppingSince === null) {
      report.line('stopping; once more to end at once');
      void end(EXIT.ok);
    } else if (Date.now() - stoppingSince > SAME_SIGNAL_MS) {
      void supervisor.kill().then(() => process.exit(EXIT.interrupted));
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  endWithNpm(() => {
    if (stoppingSince === null) void end(EXIT.failed);
  });
  void supervisor.gaveUp.then((reason) => {
    if (stoppingSince !== null) return;
    report.problem(`${reason}; stopping everything. The logs are in the data folder under logs/.`);
    void end(EXIT.failed);
  });

  try {
    await supervisor.start();
  } catch (error) {
    // Stopped while it was starting: the stop ends the process.
    if (stoppingSince !== null) return;
    report.problem(messageOf(error));
    await end(EXIT.failed);
  }
}

/** `npm start` that is killed with -9 cannot pass anything on; its child notices. */
function endWithNpm(onOrphaned: () => void): void {
  if (process.env['npm_lifecycle_event'] !== 'start') return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) onOrphaned();
  }, PARENT_POLL_MS).unref();
}

await main();
