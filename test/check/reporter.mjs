// A reporter of vitest for `npm run check`. It appends each result to the file SOCKSCOPE_CHECK_REPORT at
// once, a line of JSON each, so a run that crashes or hangs also shows what it has finished.
import { appendFileSync } from 'node:fs';

const REPORT = process.env['SOCKSCOPE_CHECK_REPORT'] ?? '';

/** @param {import('./vitest.mjs').ReportLine} line */
function write(line) {
  appendFileSync(REPORT, `${JSON.stringify(line)}\n`);
}

/** @param {{ stack?: string, message: string }} error */
const textOf = (error) => error.stack ?? error.message;

/** @implements {import('vitest/node').Reporter} */
// oxlint-disable-next-line import/no-default-export -- vitest loads reporters so
export default class CheckReporter {
  /** @type {Map<string, number>} */
  #beganMs = new Map();

  /** @param {readonly import('vitest/node').TestSpecification[]} specifications */
  onTestRunStart(specifications) {
    const files = specifications.map(({ moduleId, project }) => ({
      file: moduleId,
      project: project.name,
    }));
    write({ kind: 'begin', files });
  }

  /** @param {import('vitest/node').TestModule} module */
  onTestModuleStart(module) {
    this.#beganMs.set(module.id, Date.now());
  }

  /** A sign of life. */
  onTestCaseResult() {
    write({ kind: 'test' });
  }

  /** @param {import('vitest/node').TestModule} module */
  onTestModuleEnd(module) {
    const tests = [...module.children.allTests()];
    const states = tests.map((test) => test.result().state);
    const failures = tests
      .filter((test) => test.result().state === 'failed')
      .map((test) => ({
        name: test.fullName,
        errors: (test.result().errors ?? []).map(textOf),
      }));
    for (const suite of [module, ...module.children.allSuites()]) {
      const errors = suite.errors().map(textOf);
      if (errors.length > 0) failures.push({ name: 'not in a test', errors });
    }
    write({
      kind: 'file',
      file: module.moduleId,
      project: module.project.name,
      ok: module.ok(),
      seconds: (Date.now() - (this.#beganMs.get(module.id) ?? Date.now())) / 1_000,
      passed: states.filter((state) => state === 'passed').length,
      skipped: states.filter((state) => state === 'skipped').length,
      failures,
    });
  }

  /**
   * @param {readonly unknown[]} _modules
   * @param {readonly (import('vitest/node').SerializedError & { VITEST_TEST_PATH?: string })[]} errors
   */
  onTestRunEnd(_modules, errors) {
    write({
      kind: 'end',
      errors: errors.map((error) => ({
        file: error.VITEST_TEST_PATH ?? null,
        text: textOf(error),
      })),
    });
  }
}
