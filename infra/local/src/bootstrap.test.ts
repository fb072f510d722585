import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const BOOTSTRAP = fileURLToPath(new URL('../bootstrap.mjs', import.meta.url));

let bin = '';
beforeEach(() => {
  bin = mkdtempSync(join(tmpdir(), 'sockscope-bin-'));
});
afterEach(() => {
  rmSync(bin, { recursive: true, force: true });
});

/** Runs it where PATH holds nothing but what the test put there. */
function bootstrap(args: readonly string[] = []): { status: number | null; stderr: string } {
  const result = spawnSync(process.execPath, [BOOTSTRAP, ...args], {
    encoding: 'utf8',
    env: { PATH: bin },
  });
  return { status: result.status, stderr: result.stderr };
}

function installJava(output: string): void {
  const file = join(bin, 'java');
  writeFileSync(file, `#!/bin/sh\necho '${output}' >&2\n`);
  chmodSync(file, 0o755);
}

test('without Java it names the package, and how to continue without it', () => {
  const { status, stderr } = bootstrap();
  expect(status).toBe(1);
  expect(stderr).toMatch(/^sockscope: Java was not found.*17.*KAFKA_BROKERS/);
});

test.each([
  ['openjdk version "11.0.2" 2019-01-15', 11],
  ['java version "1.8.0_392"', 8],
])('%s is too old', (output, version) => {
  installJava(output);
  const { status, stderr } = bootstrap();
  expect(status).toBe(1);
  expect(stderr).toContain(`is version ${String(version)}`);
});

test('wrong arguments are refused with the help', () => {
  const { status, stderr } = bootstrap(['--for', 'fun']);
  expect(status).toBe(1);
  expect(stderr).toMatch(/Unknown arguments: --for fun[^]*--for start\|demo\|test/);
});
