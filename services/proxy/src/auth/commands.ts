import { SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { DEFAULT_COST, hashPassword } from './password.js';
import type { ScryptCost } from './password.js';
import { askNewPassword } from './prompt.js';
import { nameProblem } from './users-file.js';
import { listUsers, putUser, removeUser } from './users-edit.js';

function checkedName(what: string, name: string): string {
  const problem = nameProblem(name);
  if (problem !== null) throw new SockscopeError('name_invalid', `${what}: ${problem}`);
  return name;
}

/** Less can be guessed too fast from a stolen file; more takes seconds for a login. */
const MIN_COST = 13;
const MAX_COST = 17;

interface AddOptions {
  readonly file?: string;
  readonly group?: string[];
  readonly cost?: string;
}

function costOf(text: string | undefined): ScryptCost {
  if (text === undefined) return DEFAULT_COST;
  const ln = Number(text);
  if (Number.isInteger(ln) && ln >= MIN_COST && ln <= MAX_COST) return { ...DEFAULT_COST, ln };
  throw new SockscopeError('option_invalid', `--cost must be ${MIN_COST} to ${MAX_COST}`);
}

function collect(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), ...value.split(',').map((group) => group.trim())];
}

/**
 * Adds `users add`, `users remove` and `users list`. A running proxy sees a changed file by itself.
 *
 * @param usersFile path of the configured users file; empty if none is configured.
 */
export function registerUsersCommands(program: Command, usersFile: () => string): void {
  const users = program.command('users').description('manage the users of the proxy');
  const fileOption = ['--file <file>', 'users file; default is PROXY_USERS_FILE'] as const;
  const fileOf = (options: { file?: string }): string => {
    const file = options.file ?? usersFile();
    if (file !== '') return file;
    throw new SockscopeError('option_invalid', 'no file: give --file, or set PROXY_USERS_FILE');
  };
  users
    .command('add')
    .description('add a user or change a password; prompts for it, or reads it from standard input')
    .argument('<name>')
    .option(...fileOption)
    .option(
      '--group <names>',
      'groups, separated by commas or repeated; default: unchanged',
      collect,
    )
    .option(
      '--cost <exponent>',
      `how slow the hash is: 2 to this power, ${MIN_COST} to ${MAX_COST} (default: ${DEFAULT_COST.ln})`,
    )
    .action(async (name: string, options: AddOptions) => {
      const file = fileOf(options);
      checkedName('name', name);
      for (const group of options.group ?? []) checkedName(`group "${group}"`, group);
      const cost = costOf(options.cost);
      const hash = await hashPassword(await askNewPassword(process.stdin), cost);
      const result = await putUser(file, { name, hash, groups: options.group ?? null });
      process.stdout.write(`${result} ${name} in ${file}\n`);
    });
  users
    .command('remove')
    .description('remove a user')
    .argument('<name>')
    .option(...fileOption)
    .action(async (name: string, options: { file?: string }) => {
      await removeUser(fileOf(options), name);
      process.stdout.write(`removed ${name}\n`);
    });
  users
    .command('list')
    .description('list users and groups')
    .option(...fileOption)
    .action(async (options: { file?: string }) => {
      const lines = (await listUsers(fileOf(options))).map(
        (user) => `${user.name}\t${user.groups.join(', ')}\n`,
      );
      process.stdout.write(lines.join(''));
    });
}
