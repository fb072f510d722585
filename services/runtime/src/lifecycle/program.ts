import { relative } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
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
  /** Name that the user types, such as `sockscope-proxy`. */
  readonly name: string;
  readonly description: string;
  readonly schema: S;
  /**
   * An example of each command, without the program: `users add` → `users add alice --file users.yaml`.
   * The empty name is the service itself. `--help` shows it.
   */
  readonly examples?: Readonly<Record<string, string>>;
  /** The configuration with each `auto` resolved for this machine, for `--check-config`. */
  resolved?(config: z.infer<S>): z.infer<S>;
  /** Runs without a subcommand: the service itself. */
  run(config: z.infer<S>): Promise<void>;
}

export interface Program<S extends z.ZodObject> {
  /** Parent for subcommands. */
  readonly command: Command;
  /** The configuration, read once; for subcommands too. */
  config(): z.infer<S>;
  /** Parses the arguments and runs; ends the process with a plain sentence if it fails. */
  main(): Promise<void>;
}

/** The command line of a service: `--config`, `--check-config`, `--help`, its subcommands, or the service. */
export function createProgram<S extends z.ZodObject>(spec: ProgramSpec<S>): Program<S> {
  const command = new Command(spec.name)
    .description(spec.description)
    .option('--config <file>', `YAML configuration file (${CONFIG_FILE_ENV})`)
    .option('--check-config', 'print the effective configuration, secrets hidden, and exit')
    .addOption(new Option('--commands', 'print all commands with their options as JSON').hideHelp())
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
    const { checkConfig, commands } = command.opts<{ checkConfig?: boolean; commands?: boolean }>();
    if (commands === true) {
      process.stdout.write(`${JSON.stringify(describeCommands(command, spec.examples ?? {}))}\n`);
      return;
    }
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
      endWithReader(process.stdout);
      showExamples(command, spec.examples ?? {});
      try {
        // By itself commander would report too many arguments if a command is misspelled.
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

/** The exit code that a shell shows for a program that SIGPIPE has ended. */
const BROKEN_PIPE = 141;

/** A reader such as `head` that has seen enough ends the command; the rest has nowhere to go. */
function endWithReader(output: NodeJS.WriteStream): void {
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(BROKEN_PIPE);
  });
}

/** A command of a program, for the reference and for tests of the commands in the guides. */
export interface DescribedCommand {
  /** Its words, such as `users add`; empty for the service itself. */
  readonly name: string;
  readonly description: string;
  readonly arguments: readonly { readonly name: string; readonly required: boolean }[];
  readonly options: readonly {
    readonly flag: string;
    /** Text of `--help`, with the name of its value: `--file <file>`. */
    readonly usage: string;
    readonly description: string;
    readonly takesValue: boolean;
    readonly mandatory: boolean;
  }[];
  /** Whether it only has commands below it. */
  readonly isGroup: boolean;
  readonly example: string | null;
}

function describeCommands(
  command: Command,
  examples: Readonly<Record<string, string>>,
): DescribedCommand[] {
  return allCommands(command, '').map(([name, each]) => ({
    name,
    description: each.description(),
    arguments: each.registeredArguments.map((argument) => ({
      name: argument.name(),
      required: argument.required,
    })),
    options: each.options.map((option) => ({
      flag: option.long ?? option.flags,
      usage: option.flags,
      description: option.description,
      takesValue: option.required || option.optional,
      mandatory: option.mandatory,
    })),
    isGroup: name !== '' && each.commands.length > 0,
    example: examples[name] ?? null,
  }));
}

function allCommands(command: Command, name: string): [name: string, command: Command][] {
  const below = command.commands.flatMap((each) =>
    allCommands(each, name === '' ? each.name() : `${name} ${each.name()}`),
  );
  return [[name, command], ...below];
}

function showExamples(command: Command, examples: Readonly<Record<string, string>>): void {
  const program = `node ${relative(process.cwd(), process.argv[1] ?? '')}`;
  for (const [name, each] of allCommands(command, '')) {
    // A group shows the commands below it.
    const shown = Object.entries(examples).filter(
      ([key]) => key === name || (name !== '' && key.startsWith(`${name} `)),
    );
    if (shown.length === 0) continue;
    const lines = shown.map(([, example]) => `  ${`${program} ${example}`.trim()}`);
    each.addHelpText('after', `\nExample${lines.length > 1 ? 's' : ''}:\n${lines.join('\n')}`);
  }
}
