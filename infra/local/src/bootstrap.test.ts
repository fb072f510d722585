import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const LOCAL = fileURLToPath(new URL('..', import.meta.url));

/** A checkout that nothing was installed in yet. */
let root = '';
let bin = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sockscope-root-'));
  bin = join(root, 'bin');
  mkdirSync(bin);
  for (const file of ['bootstrap.mjs', 'kafka/libs.mjs', 'kafka/pom.xml']) {
    cpSync(join(LOCAL, file), join(root, 'infra/local', file));
  }
  const lock = { packages: { 'node_modules/x': { version: '1.0.0', integrity: 'sha512-x' } } };
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify(lock));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/**
 * Runs it with no program in PATH but those that the test put there.
 *
 * @param disguise JavaScript that runs before it, to change Node's view of the machine.
 */
function bootstrap(
  args: readonly string[] = [],
  disguise = '',
): { status: number | null; stderr: string } {
  writeFileSync(join(root, 'disguise.cjs'), disguise);
  const result = spawnSync(
    process.execPath,
    ['--require', join(root, 'disguise.cjs'), join(root, 'infra/local/bootstrap.mjs'), ...args],
    { encoding: 'utf8', env: { PATH: [bin, '/usr/bin/none'].join(delimiter) } },
  );
  return { status: result.status, stderr: result.stderr };
}

function install(program: string, script: string): void {
  const file = join(bin, program);
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
}

function installJava(output: string): void {
  install('java', `echo '${output}' >&2`);
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

test('Node 18 is refused with the version that is needed and a way to get it', () => {
  const { status, stderr } = bootstrap(
    [],
    "Object.defineProperty(process, 'versions', { value: { node: '18.20.8' } });",
  );
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^sockscope: Node 20\.19 or newer is needed; this is 18\.20\.8.*nvm install/,
  );
});

test('a missing Maven is named before anything is installed', () => {
  installJava('openjdk version "17.0.2"');
  install('npm', 'echo installed >&2; exit 1');
  const { status, stderr } = bootstrap();
  expect(status).toBe(1);
  expect(stderr).toMatch(/^sockscope: Maven \(mvn\) was not found.*apt-get install maven/);
});

test('a full disk is named before anything is installed, with the space that is needed', () => {
  installJava('openjdk version "17.0.2"');
  install('mvn', 'exit 0');
  const { status, stderr } = bootstrap(
    [],
    "require('node:fs').statfsSync = () => ({ bavail: 1024, bsize: 1024 });",
  );
  expect(status).toBe(1);
  expect(stderr).toMatch(/^sockscope: There are only 1 MiB free on the disk of .*needs 2048/);
});

test.each([
  ['getaddrinfo EAI_AGAIN registry', /npm cannot reach its registry.*npm ping/],
  ['ENOSPC: no space left on device', /The disk is full/],
])('when npm fails with %s, the advice fits', (message, advice) => {
  installJava('openjdk version "17.0.2"');
  install('mvn', 'exit 0');
  install('npm', `echo 'npm error ${message}' >&2; exit 1`);
  const { status, stderr } = bootstrap();
  expect(status).toBe(1);
  expect(stderr).toContain(message);
  expect(stderr).toMatch(advice);
});

test('without a network the packages come from the cache of npm, or the network is named', () => {
  installJava('openjdk version "17.0.2"');
  install('mvn', 'exit 0');
  install(
    'npm',
    '[ "$1" = ping ] && echo "npm error code EAI_AGAIN" >&2 || echo "ENOTCACHED by $*" >&2; exit 1',
  );
  const { status, stderr } = bootstrap();
  expect(status).toBe(1);
  expect(stderr).toMatch(/ENOTCACHED by ci .*--offline/);
  expect(stderr).toMatch(/sockscope: npm cannot reach its registry.*npm ping/);
});

test('a registry without pings does not stop the installation', () => {
  installJava('openjdk version "17.0.2"');
  install('mvn', 'exit 0');
  install('npm', '[ "$1" = ping ] && echo "npm error code E404" >&2 || echo installed >&2; exit 1');
  expect(bootstrap().stderr).toContain('installed');
});

test('wrong arguments are refused with the help', () => {
  const { status, stderr } = bootstrap(['--for', 'fun']);
  expect(status).toBe(1);
  expect(stderr).toMatch(/Unknown arguments: --for fun[^]*--for start\|demo\|test/);
});
