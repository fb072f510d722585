// The Maven artifacts of the local Kafka. Plain JavaScript, because bootstrap.mjs needs it before
// anything has been installed or built; the library imports the same file.
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { link, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const POM = join(here, 'pom.xml');
/** The folder of this checkout's jars, the same for every data directory. */
const LIBS_ROOT = join(here, '..', '..', '..', '.local', 'kafka-libs');

/** Longest time one fetch may take before it counts as hung. */
const FETCH_TIMEOUT_MS = 10 * 60_000;
/** A lock whose owner is gone is taken over; one whose owner lives is waited for this long. */
const LOCK_TIMEOUT_MS = FETCH_TIMEOUT_MS + 10_000;

const GO_ON = 'To do without it, set KAFKA_BROKERS to a Kafka that you already have.';
export const MAVEN_MISSING = `Maven (mvn) was not found; it fetches the local Kafka. Install it (Debian: apt-get install maven; macOS: brew install maven). ${GO_ON}`;

export class KafkaLibsError extends Error {
  /** @param {string} message @param {{ cause?: unknown }} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = 'KafkaLibsError';
    this.code = 'KAFKA_LIBS';
    this.retryable = true;
  }
}

/**
 * The folder that belongs to the present pom: a changed pom gets another folder.
 * @param {string} root
 */
async function libsDirOf(root) {
  const digest = createHash('sha256')
    .update(await readFile(POM))
    .digest('hex')
    .slice(0, 12);
  return join(root, digest);
}

/** Resolves to the folder when the jars are already there, else to null. */
export async function findKafkaLibs() {
  const dir = await libsDirOf(LIBS_ROOT);
  return existsSync(dir) ? dir : null;
}

/**
 * Makes sure that the jars are there and resolves to their folder. Two processes that ask at the
 * same time fetch once: the second waits for the first.
 *
 * @param {{ onFetch?: () => void, root?: string, maven?: string }} [options] `onFetch` is called
 *   once, before a fetch begins; `root` is the folder of the folders, `maven` the program.
 * @throws {KafkaLibsError} with a sentence about the next step.
 */
export async function ensureKafkaLibs(options = {}) {
  const { onFetch, root = LIBS_ROOT, maven = 'mvn' } = options;
  const dir = await libsDirOf(root);
  if (existsSync(dir)) return dir;
  await mkdir(root, { recursive: true });
  const unlock = await lock(join(root, 'lock'));
  try {
    if (existsSync(dir)) return dir;
    onFetch?.();
    // A folder under another name until it is whole, so that an interrupted fetch is never used.
    const part = `${dir}.${process.pid}.part`;
    try {
      await copyArtifacts(maven, part);
      const jars = await readdir(part);
      if (!jars.some((name) => name.startsWith('kafka_'))) {
        throw new KafkaLibsError(`Maven ended well but left no Kafka in ${part}.`);
      }
      await rename(part, dir);
    } finally {
      await rm(part, { recursive: true, force: true });
    }
    return dir;
  } finally {
    await unlock();
  }
}

/**
 * @param {string} maven
 * @param {string} outputDirectory
 */
async function copyArtifacts(maven, outputDirectory) {
  const args = [
    '-q',
    '-B',
    '-f',
    POM,
    'dependency:copy-dependencies',
    `-DoutputDirectory=${outputDirectory}`,
    '-DincludeScope=runtime',
  ];
  const child = spawn(maven, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const keep = (/** @type {Buffer} */ chunk) => {
    output = (output + chunk.toString('utf8')).slice(-4000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const timer = setTimeout(() => child.kill('SIGKILL'), FETCH_TIMEOUT_MS);
  const result = await new Promise((resolve) => {
    child.once('error', (error) => resolve(error));
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  clearTimeout(timer);
  if (result === 0) return;
  if (result instanceof Error && 'code' in result && result.code === 'ENOENT') {
    throw new KafkaLibsError(MAVEN_MISSING, { cause: result });
  }
  throw new KafkaLibsError(
    `Maven could not fetch Kafka (${result instanceof Error ? result.message : `it ended with ${result}`}). Its last words:\n${output.trim()}\n${adviceOn(output)} ${GO_ON}`,
    result instanceof Error ? { cause: result } : {},
  );
}

/** @param {string} output of Maven */
function adviceOn(output) {
  if (/No space left/i.test(output)) return 'The disk is full: make room and try again.';
  // Without a network the first thing that Maven misses is its own plugin.
  const isNetwork =
    /No plugin found for prefix|could not be resolved|Could not transfer|Connection refused|Unknown host|unreachable/i;
  return isNetwork.test(output)
    ? 'Maven cannot reach its repository. Check the network and the proxy in ~/.m2/settings.xml, then run the same command again.'
    : 'Repair the cause and run the same command again.';
}

/**
 * A lock file that holds its owner's pid. Resolves to the function that gives it back.
 * @param {string} file
 */
async function lock(file) {
  const deadline = Date.now() + LOCK_TIMEOUT_MS;
  for (;;) {
    // Written beside and linked into place, so that nobody ever reads a lock without its pid.
    const mine = `${file}.${process.pid}.${randomUUID()}`;
    try {
      await writeFile(mine, String(process.pid));
      await link(mine, file);
      return () => rm(file, { force: true });
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    } finally {
      await rm(mine, { force: true });
    }
    const owner = Number(await readFile(file, 'utf8').catch(() => ''));
    if (owner > 0 && !isAlive(owner)) await rm(file, { force: true });
    if (Date.now() > deadline) {
      throw new KafkaLibsError(
        `Another process (pid ${owner}) has been fetching Kafka for too long; end it or delete ${file}.`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
