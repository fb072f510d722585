import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { classArchive } from './class-archive.js';

let libs = '';
beforeEach(async () => {
  libs = await mkdtemp(join(tmpdir(), 'sockscope-libs-'));
});
afterEach(async () => {
  await rm(libs, { recursive: true, force: true });
});

/** The file that a JVM with these arguments writes when it ends. */
const written = (args: readonly string[]): string =>
  args[0]?.replace('-XX:ArchiveClassesAtExit=', '') ?? '';

test('the first broker that stops writes the archive, and each later one reads it', async () => {
  const first = classArchive(libs);
  expect(first.readArgs).toEqual([]);
  await writeFile(written(first.jvmArgs), 'classes');
  await first.keep({ code: 143, signal: null });
  expect(await readdir(libs)).toEqual(['classes.jsa']);
  const use = [`-XX:SharedArchiveFile=${join(libs, 'classes.jsa')}`];
  expect(classArchive(libs)).toMatchObject({ jvmArgs: use, readArgs: use });
});

test('brokers that stop at once each leave a whole archive', async () => {
  const both = [classArchive(libs), classArchive(libs)];
  await Promise.all(both.map((each) => writeFile(written(each.jvmArgs), 'classes')));
  for (const each of both) await each.keep({ code: 143, signal: null });
  expect(await readdir(libs)).toEqual(['classes.jsa']);
});

test('the archive of a broker that had to be killed while it stopped is not kept', async () => {
  const archive = classArchive(libs);
  await writeFile(written(archive.jvmArgs), 'torn');
  await archive.keep({ code: null, signal: 'SIGKILL' });
  expect(await readdir(libs)).toEqual([]);
});

test('a broker that wrote no archive stops as usual', async () => {
  await classArchive(libs).keep({ code: 143, signal: null });
  expect(await readdir(libs)).toEqual([]);
});
