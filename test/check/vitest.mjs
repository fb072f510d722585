// Runs test files with vitest for `npm run check`, also if vitest crashes or hangs.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const REPORTER = fileURLToPath(new URL('reporter.mjs', import.meta.url));
/** Longer than any test may take: then the run hangs. */
const SILENCE_MAX_MS = Number(process.env['SOCKSCOPE_CHECK_SILENCE_MS'] ?? 900_000);
const LOOK_MS = 5_000;

/**
 * @typedef {{ file: string, project: string }} FileOfProject
 * @typedef {FileOfProject & { ok: boolean, hasRun: boolean, seconds: number, passed: number, skipped: number, failures: { name: string, errors: string[] }[] }} FileResult
 * @typedef {{ kind: 'begin', files: FileOfProject[] } | { kind: 'test' } | ({ kind: 'file' } & Omit<FileResult, 'hasRun'>) | { kind: 'end', errors: { file: string | null, text: string }[] }} ReportLine
 * @typedef {{ results: FileResult[], problem: string | null }} TestRun what became of each file, and of the
 *   run if that has failed for a reason that belongs to no file
 */

/**
 * Runs test files, and ends a run without any result for 15 minutes.
 * @param {{ paths: string[], except: string[], projects: string[], workers: number, pathFirst: string[], output?: Buffer[] }} how
 *   `except` are patterns of files; `output` takes what vitest writes, and without it that is shown at once
 * @returns {Promise<TestRun>}
 */
export async function runVitest({ paths, except, projects, workers, pathFirst, output }) {
  const folder = mkdtempSync(join(tmpdir(), 'sockscope-check-'));
  const report = join(folder, 'report');
  const how = output === undefined ? 'inherit' : 'pipe';
  const child = spawn(
    'vitest',
    [
      'run',
      ...paths,
      '--passWithNoTests',
      ...except.flatMap((pattern) => ['--exclude', pattern]),
      ...projects.flatMap((project) => ['--project', project]),
      // Vitest would take one worker on two cores, and leave both idle while a test waits for servers.
      `--maxWorkers=${workers}`,
      '--reporter=default',
      `--reporter=${REPORTER}`,
    ],
    {
      cwd: ROOT,
      env: {
        ...process.env,
        PATH: [...pathFirst, join(ROOT, 'node_modules', '.bin'), process.env['PATH']].join(
          delimiter,
        ),
        SOCKSCOPE_CHECK_REPORT: report,
      },
      stdio: ['ignore', how, how],
    },
  );
  child.stdout?.on('data', (chunk) => output?.push(chunk));
  child.stderr?.on('data', (chunk) => output?.push(chunk));
  const watch = watchForSilence(child, report);
  /** @type {string} */
  const end = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(String(code ?? signal)));
  });
  clearInterval(watch.timer);
  const lines = linesOf(report);
  rmSync(folder, { recursive: true, force: true });
  return outcomeOf(lines, watch.isOver() ? 'no result for 15 minutes' : end);
}

/**
 * Kills a run that hangs, with its workers: one that is caught in a loop would hold the output open.
 * @param {import('node:child_process').ChildProcess} child
 * @param {string} report
 */
function watchForSilence(child, report) {
  let isOver = false;
  const beganMs = Date.now();
  const timer = setInterval(() => {
    const changedMs = statSync(report, { throwIfNoEntry: false })?.mtimeMs ?? beganMs;
    if (isOver || Date.now() - changedMs < SILENCE_MAX_MS) return;
    isOver = true;
    const workers = spawnSync('ps', ['-o', 'pid=', '--ppid', String(child.pid)], {
      encoding: 'utf8',
    });
    child.kill('SIGKILL');
    for (const pid of workers.stdout?.match(/\d+/g) ?? []) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }, LOOK_MS);
  return { timer, isOver: () => isOver };
}

/**
 * @param {string} report
 * @returns {ReportLine[]}
 */
function linesOf(report) {
  try {
    const lines = readFileSync(report, 'utf8').split('\n');
    // The last one may have been cut.
    return lines.slice(0, -1).map((line) => JSON.parse(line));
  } catch {
    return [];
  }
}

/**
 * @param {ReportLine[]} lines
 * @param {string} end the exit code of vitest, or why it has none
 * @returns {TestRun}
 */
export function outcomeOf(lines, end) {
  const results = lines
    .filter((line) => line.kind === 'file')
    .map((line) => ({ ...line, hasRun: true }));
  const errors = lines.flatMap((line) => (line.kind === 'end' ? line.errors : []));
  const outside = errors.filter(({ file }) => file === null).map(({ text }) => text);
  for (const result of results) {
    const own = errors.filter(({ file }) => file === result.file).map(({ text }) => text);
    if (own.length > 0) result.failures.push({ name: 'not in a test', errors: own });
    result.ok &&= own.length === 0;
  }
  const begun = lines.flatMap((line) => (line.kind === 'begin' ? line.files : []));
  const missing = begun.filter(
    ({ file, project }) => !results.some((each) => each.file === file && each.project === project),
  );
  // Its worker has crashed or hung.
  for (const { file, project } of missing) {
    const reasons = outside.length > 0 ? outside : [`vitest ended with ${end}`];
    const failures = [{ name: 'has no result', errors: reasons }];
    const none = { seconds: 0, passed: 0, skipped: 0 };
    results.push({ kind: 'file', file, project, ok: false, hasRun: false, ...none, failures });
  }
  const isExplained = results.some(({ ok }) => !ok);
  if (isExplained || (end === '0' && outside.length === 0)) return { results, problem: null };
  return { results, problem: [`vitest ended with ${end}`, ...outside].join('\n') };
}
