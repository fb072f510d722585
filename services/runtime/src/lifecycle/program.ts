import { Command, InvalidArgumentError } from 'commander';
import type { z } from 'zod';
import { CONFIG_FILE_ENV, ConfigError, effectiveConfig, loadConfig } from '../config/config.js';
import { messageOf, SockscopeError } from '../errors.js';
import { VERSION } from '../version.js';
import { EXIT } from './service.js';

export { Command } from 'commander';

/** An option's value as a whole number from 1. @throws commander's error, which names the option. */
export function countOption(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number from 1.');
}

export interface ProgramSpec<S extends z.ZodObject> {
  /** As the user types it, such as `sockscope-proxy`. */
  readonly name: string;
  readonly description: string;
  readonly schema: S;
  /** The configuration with what `auto` stands for on this machine, for `--check-config`. */
  resolved?(config: z.infer<S>): z.infer<S>;
  /** What runs without a subcommand: the service itself. */
  run(config: z.infer<S>): Promise<void>;
}

export interface Program<S extends z.ZodObject> {
  /** To hang subcommands on. */
  readonly command: Command;
  /** The configuration, read once; for subcommands too. */
  config(): z.infer<S>;
  /** Parses the arguments and runs; ends the process with a plain sentence where it fails. */
  main(): Promise<void>;
}

/** The command line of a service: `--config`, `--check-config`, `--help`, its subcommands, or the service. */
export function createProgram<S extends z.ZodObject>(spec: ProgramSpec<S>): Program<S> {
  const command = new Command(spec.name)
    .description(spec.description)
    .option('--config <file>', `YAML configuration file (${CONFIG_FILE_ENV})`)
    .option('--check-config', 'print the effective configuration, secrets hidden, and exit')
    .enablePositionalOptions()
    .version(VERSION, '--version', 'print the version and exit')
    .showHelpAfterError('(--help lists the options)');
  let loaded: z.infer<S> | null = null;

  function config(): z.infer<S> {
    if (loaded === null) {
      const { config: file } = command.opts<{ config?: string }>();
      const env = file === undefined ? process.env : { ...process.env, [CONFIG_FILE_ENV]: file };
      loaded = loadConfig(spec.schema, env);
    }
    return loaded;
  }

  command.action(async () => {
    const [unknown] = command.args;
    if (unknown !== undefined) {
      const names = command.commands.map((each) => each.name()).join(', ');
      command.error(`error: unknown command ${unknown}. Commands: ${names || 'none'}`, {
        exitCode: EXIT.config,
      });
    }
    const { checkConfig } = command.opts<{ checkConfig?: boolean }>();
    if (checkConfig === true) {
      const effective = spec.resolved?.(config()) ?? config();
      process.stdout.write(`${JSON.stringify(effectiveConfig(spec.schema, effective), null, 2)}\n`);
      return;
    }
    await spec.run(config());
  });

  return {
    command,
    config,
    async main() {
      try {
        // Of itself commander would speak of too many arguments where a command is misspelled.
        await command.allowExcessArguments().parseAsync();
      } catch (error) {
        // Our own errors are sentences for the operator; anything else needs its stack.
        const text =
          error instanceof SockscopeError
            ? messageOf(error)
            : error instanceof Error
              ? (error.stack ?? error.message)
              : String(error);
        process.stderr.write(`${spec.name}: ${text}\n`);
        process.exit(error instanceof ConfigError ? EXIT.config : EXIT.failed);
      }
    },
  };
}
