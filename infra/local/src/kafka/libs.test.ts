import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ensureKafkaLibs } from '../../kafka/libs.mjs';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sockscope-libs-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** A program in Maven's place; `$out` is the folder that it is to fill. */
function maven(script: string): { root: string; maven: string } {
  const file = join(dir, 'mvn');
  writeFileSync(
    file,
    `#!/bin/sh\nfor arg; do case "$arg" in -DoutputDirectory=*) out="\${arg#*=}";; esac; done\n${script}\n`,
  );
  chmodSync(file, 0o755);
  return { root: join(dir, 'libs'), maven: file };
}

const GO_ON = /set KAFKA_BROKERS to a Kafka that you already have/;

test('without Maven it names the package, and how to continue without it', async () => {
  const fetch = ensureKafkaLibs({ root: dir, maven: join(dir, 'none') });
  await expect(fetch).rejects.toThrow(/Maven \(mvn\) was not found.*apt-get install maven/);
  await expect(fetch).rejects.toThrow(GO_ON);
});

test('a fetch that fails shows the last words of Maven and how to continue, and leaves nothing', async () => {
  const options = maven(
    'mkdir -p "$out"; touch "$out/kafka_1.jar"; echo "no such host: repo" >&2; exit 3',
  );
  const fetch = ensureKafkaLibs(options);
  await expect(fetch).rejects.toThrow(/it ended with 3[^]*no such host: repo/);
  await expect(fetch).rejects.toThrow(GO_ON);
  expect(readdirSync(options.root)).toEqual([]);
});

test('a fetch that brought no Kafka is not taken for one', async () => {
  const options = maven('mkdir -p "$out"; touch "$out/other.jar"');
  await expect(ensureKafkaLibs(options)).rejects.toThrow('left no Kafka');
  expect(readdirSync(options.root)).toEqual([]);
});

test('several that ask at once fetch once, and all get the whole folder', async () => {
  const calls = join(dir, 'calls');
  const options = maven(`echo x >> '${calls}'; mkdir -p "$out"; touch "$out/kafka_1.jar"`);
  const found = await Promise.all([1, 2, 3].map(() => ensureKafkaLibs(options)));
  expect(new Set(found).size).toBe(1);
  expect(existsSync(join(found[0] ?? '', 'kafka_1.jar'))).toBe(true);
  expect(readFileSync(calls, 'utf8')).toBe('x\n');
});

test('a lock that a dead process has left is taken over', async () => {
  const options = maven('mkdir -p "$out"; touch "$out/kafka_1.jar"');
  await expect(ensureKafkaLibs({ ...options, maven: join(dir, 'none') })).rejects.toThrow();
  // No process has this number: it is above every system's limit.
  writeFileSync(join(options.root, 'lock'), '2147483646');
  expect(existsSync(await ensureKafkaLibs(options))).toBe(true);
});
