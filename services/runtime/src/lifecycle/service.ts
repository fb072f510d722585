import { messageOf } from '../errors.js';
import { logLast } from '../log/logger.js';
import type { Logger } from '../log/logger.js';

/** A part of a service: does nothing until `start`, and `stop` ends all that it began. */
export interface Component {
  start(): unknown;
  stop(): unknown;
}

export interface ServiceConfig {
  readonly name: string;
  /** After this time a stop that hangs ends the process with exit code 1. */
  readonly shutdown_deadline_ms: number;
}

/** Exit codes of every service. */
export const EXIT = { ok: 0, failed: 1, config: 2, interrupted: 130 } as const;

export interface Service {
  /** Starts the components in their order; a failure stops the started components and ends the process. */
  run(): Promise<void>;
  /** Stops in reverse order and ends the process. Called on SIGTERM and SIGINT too. */
  shutdown(cause: string, exitCode?: number): Promise<void>;
}

/**
 * Runs named components as one process: start in order, stop in reverse, on SIGTERM or SIGINT. A
 * second signal ends at once. An uncaught exception is fatal, because the state is unknown. The
 * process logs it, stops in order and exits with 1.
 */
export function createService(
  config: ServiceConfig,
  components: readonly (readonly [name: string, component: Component])[],
  deps: { readonly logger: Logger },
): Service {
  const { logger } = deps;
  const started: (readonly [string, Component])[] = [];
  let stopping: Promise<void> | null = null;
  let hasSignal = false;

  async function stopAll(): Promise<number> {
    let failures = 0;
    for (const [name, component] of started.toReversed()) {
      try {
        // The order matters: each part may still need those started before it.
        await component.stop();
        logger.debug({ component: name }, 'stopped');
      } catch (error) {
        failures += 1;
        logger.error({ err: error, component: name }, 'did not stop cleanly');
      }
    }
    return failures;
  }

  function shutdown(cause: string, exitCode: number = EXIT.ok): Promise<void> {
    stopping ??= (async () => {
      logger.info({ cause }, `${config.name} stopping`);
      setTimeout(() => {
        logger.fatal({ deadline_ms: config.shutdown_deadline_ms }, 'shutdown deadline passed');
        process.exit(EXIT.failed);
      }, config.shutdown_deadline_ms).unref();
      const failures = await stopAll();
      await logLast(logger, { cause }, `${config.name} stopped`);
      process.exit(failures > 0 && exitCode === EXIT.ok ? EXIT.failed : exitCode);
    })();
    return stopping;
  }

  function onSignal(signal: string): void {
    // A worker may get the wish of its primary and the signal of their group, in any order.
    if (hasSignal) {
      logger.warn({ signal }, 'second signal: ending at once');
      process.exit(EXIT.interrupted);
    }
    hasSignal = true;
    void shutdown(signal);
  }

  function onFatal(error: unknown, kind: string): void {
    logger.fatal({ err: error }, `${kind}: ${messageOf(error)}`);
    void shutdown(kind, EXIT.failed);
  }

  return {
    shutdown,
    async run() {
      process.on('SIGTERM', onSignal);
      process.on('SIGINT', onSignal);
      process.on('uncaughtException', (error) => {
        onFatal(error, 'uncaught exception');
      });
      process.on('unhandledRejection', (error) => {
        onFatal(error, 'unhandled rejection');
      });
      for (const entry of components) {
        if (stopping !== null) return;
        const [name, component] = entry;
        try {
          started.push(entry);
          await component.start();
        } catch (error) {
          logger.fatal(
            { err: error, component: name },
            `${name} did not start: ${messageOf(error)}`,
          );
          await shutdown(`${name} did not start`, EXIT.failed);
          return;
        }
      }
      logger.info(`${config.name} ready`);
    },
  };
}
