import { messageOf } from '@sockscope/runtime';
import { loadLocalConfig } from './config.js';
import type { Reporter } from './report.js';
import { createSupervisor, type RunningProduct } from './supervisor.js';

/** npm passes a Ctrl-C on that the terminal has already delivered: the two are one. */
const SAME_SIGNAL_MS = 500;
const PARENT_POLL_MS = 1_000;
export const EXIT = { ok: 0, failed: 1, config: 2, interrupted: 130 } as const;

export interface RunOptions {
  /** Printed for `--help`, and for arguments, of which there are none. */
  readonly help: string;
  /** The checkout. */
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  readonly report: Reporter;
  /** Next steps for a person at the terminal. */
  nextSteps(product: RunningProduct): readonly string[];
  /** Runs beside the product: begun when it is ready, ended before it is stopped. */
  readonly company?: {
    start(product: RunningProduct): Promise<void>;
    stop(): Promise<void>;
  };
}

/** Runs the product until a signal ends it, and then ends this process. */
export async function runInTerminal(options: RunOptions): Promise<void> {
  const { report, env, root, company } = options;
  answerArguments(options.help);
  // A reader such as `head` that has gone stops nothing.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  let config;
  try {
    config = loadLocalConfig(env);
  } catch (error) {
    report.problem(messageOf(error));
    process.exit(EXIT.config);
  }
  const supervisor = createSupervisor(config, { report, root, env });
  let stoppingSince: number | null = null;

  async function end(exitCode: number): Promise<never> {
    stoppingSince ??= Date.now();
    try {
      await company?.stop();
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
      report.line('stopping; a second Ctrl-C ends everything at once');
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
    const product = await supervisor.start();
    for (const step of options.nextSteps(product)) report.hint(step);
    await company?.start(product);
  } catch (error) {
    // Stopped while it was starting: the stop ends the process.
    if (stoppingSince !== null) return;
    report.problem(messageOf(error));
    await end(EXIT.failed);
  }
}

/** Ends the process if it was called with arguments. */
export function answerArguments(help: string): void {
  const [first] = process.argv.slice(2);
  if (first === undefined) return;
  const isHelp = first === '--help' || first === '-h';
  if (isHelp) process.stdout.write(`${help}\n`);
  else process.stderr.write(`sockscope: There is no argument ${first}.\n\n${help}\n`);
  process.exit(isHelp ? EXIT.ok : EXIT.config);
}

/** `npm start` that is killed with -9 cannot pass anything on; its child notices. */
function endWithNpm(onOrphaned: () => void): void {
  if (!['start', 'demo', 'dev'].includes(process.env['npm_lifecycle_event'] ?? '')) return;
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) onOrphaned();
  }, PARENT_POLL_MS).unref();
}
