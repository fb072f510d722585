/** The commands in the guides and in `--help` are commands that the programs accept. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { DescribedCommand } from '@sockscope/runtime';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { guideCommands, shellCommands } from '../support/guide-commands.js';
import { commandsOf, type Service, SERVICES } from './command-reference.js';
import { readText, ROOT } from './repository.js';

function node(...args: string[]): string {
  return execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
}

const programs = new Map<string, readonly DescribedCommand[]>(
  SERVICES.map((service) => [service, commandsOf(service)]),
);

/** Returns the problem with the words behind a service's program; null if there is none. */
function problemOf(service: string, words: readonly string[]): string | null {
  const commands = programs.get(service) ?? [];
  const root = commands.find(({ name }) => name === '');
  const rest = [...words];
  let command = root;
  const takeOptions = (of: DescribedCommand | undefined): string | null => {
    while (rest[0]?.startsWith('--') === true) {
      const [flag = '', value] = (rest.shift() ?? '').split('=', 2);
      if (flag === '--help') continue;
      const option = of?.options.find((each) => each.flag === flag);
      if (option === undefined) return `${of?.name ?? service} has no option ${flag}`;
      if (option.takesValue && value === undefined) rest.shift();
    }
    return null;
  };
  const wrong = takeOptions(root);
  if (wrong !== null) return wrong;
  for (;;) {
    const name = `${command?.name ?? ''} ${rest[0] ?? ''}`.trim();
    const below = commands.find((each) => each.name === name && each !== command);
    if (below === undefined) break;
    command = below;
    rest.shift();
  }
  if (command?.isGroup === true) return `${command.name} has no command ${rest[0] ?? ''}`;
  const given: string[] = [];
  while (rest.length > 0) {
    const problem = takeOptions(command);
    if (problem !== null) return problem;
    const word = rest.shift();
    if (word !== undefined) given.push(word);
  }
  const most = command?.arguments.length ?? 0;
  const least = command?.arguments.filter(({ required }) => required).length ?? 0;
  if (given.length < least) return `${command?.name ?? ''} wants more arguments`;
  return given.length > most ? `there is no command ${given.join(' ')}` : null;
}

/** The service and its arguments, of each call of one of our programs in a guide. */
function callOf(words: readonly string[]): [Service, string[]] | null {
  for (const service of SERVICES) {
    const path = words.findIndex((word) => word.endsWith(`services/${service}/dist/main.js`));
    if (path !== -1) return [service, words.slice(path + 1)];
    // The guide of deployment shortens it so.
    if (words[0] === service) return [service, words.slice(1)];
    const run = words.indexOf('run');
    const inside = words.indexOf(service, run);
    if (words[0] === 'docker' && run !== -1 && inside !== -1) {
      return [service, words.slice(inside + 1)];
    }
  }
  return null;
}

const commands = guideCommands();
const calls = commands.flatMap(({ file, line, text }) =>
  shellCommands(text).map((words) => ({ at: `${file}:${line}: ${text}`, words })),
);

describe('--help', () => {
  test.each(SERVICES)('every command of %s has an example, and the example is right', (service) => {
    const described = programs.get(service) ?? [];
    expect(described.length).toBeGreaterThan(3);
    const without = described.filter(({ isGroup, example }) => !isGroup && example === null);
    expect(without.map(({ name }) => name)).toEqual([]);
    const wrong = described.flatMap(({ example }) =>
      example === null ? [] : (problemOf(service, shellCommands(example)[0] ?? []) ?? []),
    );
    expect(wrong).toEqual([]);
  });

  test('an unknown command, option and argument are found', () => {
    expect(problemOf('proxy', ['users', 'ad', 'x'])).toBe('users has no command ad');
    expect(problemOf('proxy', ['users', 'add', 'x', '--fil', 'y'])).toMatch(/no option --fil/);
    expect(problemOf('proxy', ['users', 'add'])).toMatch(/wants more/);
    expect(problemOf('ingest', ['migrat'])).toBe('there is no command migrat');
  });
});

test.each([
  'infra/local/dist/main.js',
  'infra/local/dist/demo/main.js',
  'infra/local/dist/dev/main.js',
  'infra/local/bootstrap.mjs',
  'infra/release/release.mjs',
  'services/query/dist/evidence/verify-evidence.js',
  'test/dist/bench/ingest/catch-up.js',
  'test/dist/screenshots/main.js',
  'test/check.mjs',
])('%s has an example in its --help', (program) => {
  expect(node(program, '--help')).toMatch(/^(?:Example: |  )(?:npm (?:start|run)|node )/m);
});

test('a command whose reader has seen enough ends without an error', async () => {
  const child = spawn(process.execPath, ['services/ingest/dist/main.js', 'grants', 'plan'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  // 128 and SIGPIPE, as a shell shows it.
  expect(await once(child, 'close')).toEqual([141, null]);
  expect(errors).toBe('');
});

test('npm run check names the steps and folders that it knows', () => {
  const { status, stderr } = spawnSync(process.execPath, ['test/check.mjs', 'services/qery'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect(status).toBe(2);
  expect(stderr).toMatch(/no step or folder services\/qery[^]*npm run check -- services\/query/);
});

describe('the commands of the guides', () => {
  test('there are some', () => {
    expect(calls.length).toBeGreaterThan(30);
  });

  test('commands of the services exist, with their options', () => {
    const wrong = calls.flatMap(({ at, words }) => {
      const call = callOf(words);
      const problem = call === null ? null : problemOf(...call);
      return problem === null ? [] : [`${at}: ${problem}`];
    });
    expect(wrong).toEqual([]);
  });

  test('commands of the benchmarks have the options that their --help names', () => {
    const help = new Map<string, string>();
    const scripts = (JSON.parse(readText('package.json')) as { scripts: Record<string, string> })
      .scripts;
    const wrong = calls.flatMap(({ at, words }) => {
      const [npm, run, name = '', separator, ...rest] = words;
      if (npm !== 'npm' || run !== 'run' || !name.startsWith('bench:')) return [];
      const main = /test\/dist\/\S+/.exec(scripts[name] ?? '')?.[0] ?? '';
      const text = help.get(main) ?? node(main, '--help');
      help.set(main, text);
      if (!text.includes(`Example: npm run ${name} `)) return [`${name} --help has no example`];
      if (separator === undefined) return [];
      const unknown = rest.filter((word) => word.startsWith('--') && !text.includes(word));
      return unknown.map((flag) => `${at}: there is no ${flag}`);
    });
    expect(wrong).toEqual([]);
  });

  test('every value that a helm command sets is in the values of the chart', () => {
    const values = parse(readText('infra/helm/sockscope/values.yaml')) as Record<string, unknown>;
    const wrong = calls.flatMap(({ at, words }) => {
      if (words[0] !== 'helm') return [];
      const settings = words.flatMap((word, index) =>
        /^--set(?:-string|-file)?$/.test(word)
          ? [(words[index + 1] ?? '').split('=')[0] ?? '']
          : [],
      );
      return settings
        .filter((path) => !hasPath(values, path.split('.')))
        .map((path) => `${at}: the chart has no ${path}`);
    });
    expect(wrong).toEqual([]);
  });

  test('files of the repository that they name are there', () => {
    const wrong = calls.flatMap(({ at, words }) =>
      words
        .filter((word) => /^(?:infra|services|schemas|test|docs)\/[\w./-]+$/.test(word))
        .filter((word) => !word.includes('/dist/') && !exists(word))
        .map((word) => `${at}: there is no ${word}`),
    );
    expect(wrong).toEqual([]);
  });

  test('commands that a test cannot run are in a block that begins with ```sh checked', () => {
    // All others need only the processes of npm start.
    const runs = new Set(['node', 'npm', 'curl', 'echo', 'head', 'python3']);
    const wrong = commands
      .filter(({ isOnlyChecked }) => !isOnlyChecked)
      .filter(({ text }) => shellCommands(text).some(([program = '']) => !runs.has(program)))
      .map(({ file, line, text }) => `${file}:${line}: ${text}`);
    expect(wrong).toEqual([]);
  });
});

function exists(path: string): boolean {
  try {
    readText(path);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EISDIR';
  }
}

function hasPath(value: unknown, path: readonly string[]): boolean {
  const [first, ...rest] = path;
  if (first === undefined) return true;
  const isMap = typeof value === 'object' && value !== null;
  return isMap && first in value && hasPath((value as Record<string, unknown>)[first], rest);
}
