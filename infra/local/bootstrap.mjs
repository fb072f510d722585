#!/usr/bin/env node
// Runs before `npm start` and `npm test`, with nothing but Node: checks the requirements, installs
// missing packages, builds. Does next to nothing when there is nothing to do.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// A reader such as `head` that has gone stops nothing.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const MIN_NODE = [20, 19];
const MIN_JAVA = 17;
/** npm's packages and the Maven artifacts take about 0.85 GB. */
const MIN_FREE_BYTES_INSTALL = 2 * 1024 ** 3;
/** A step that takes longer reports periodically that it still runs. */
const STILL_WORKING_MS = 10_000;

/** Two retries of a request within 20 s instead of 75 s. */
const QUICK_RETRIES = ['--fetch-retry-mintimeout=2000', '--fetch-retry-maxtimeout=15000'];
const NO_NETWORK = /ENOTCACHED|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT/;
const NO_NETWORK_ADVICE =
  'npm cannot reach its registry. Check the network (npm ping) and the proxy settings of npm (npm config get proxy), then run the same command again.';
/** Longest time for `npm ping`. A slow answer stops nothing. */
const PING_TIMEOUT_MS = 60_000;
/** The end of a command's output, enough to choose its advice. */
const OUTPUT_KEPT_CHARS = 20_000;

const HELP = `Prepares this checkout; \`npm start\` and \`npm test\` run it first.

  node infra/local/bootstrap.mjs [--for start|demo|test]

It checks Node (20.19 or newer), Java (17 or newer) and Maven, runs \`npm ci\` if
node_modules does not match package-lock.json, fetches the artifacts of the local
Kafka with Maven, and builds. Java and Maven are not asked for when KAFKA_BROKERS
names a Kafka to be used instead (\`--for start\` only).

Example: node infra/local/bootstrap.mjs --for test`;

/** Something that a person has to do; shown without a stack. */
class Advice extends Error {}

async function main() {
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    console.log(HELP);
    return;
  }
  const purpose = parsePurpose(args);
  checkNode();
  const localKafka = purpose !== 'start' || !isSet('KAFKA_BROKERS');
  const localClickHouse = purpose !== 'start' || !isSet('CLICKHOUSE_URL');
  if (localKafka) {
    checkJava();
    await checkMaven();
  }
  await installPackages();
  if (localClickHouse) checkEngine();
  if (localKafka) await fetchKafka();
  await build();
}

/** @param {string[]} args */
function parsePurpose(args) {
  const [flag, value, ...rest] = args;
  if (flag === undefined) return 'start';
  const isPurpose = value === 'start' || value === 'demo' || value === 'test';
  if (flag === '--for' && isPurpose && rest.length === 0) return value;
  throw new Advice(`Unknown arguments: ${args.join(' ')}\n\n${HELP}`);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])) return;
  throw new Advice(
    `Node ${MIN_NODE.join('.')} or newer is needed; this is ${process.versions.node}. Install Node 26 (https://nodejs.org, or with nvm: nvm install 26).`,
  );
}

function checkJava() {
  const how =
    'Install a Java runtime (Debian, Ubuntu: apt-get install default-jre-headless; macOS: brew install openjdk), or set KAFKA_BROKERS to a Kafka that you already have.';
  const result = spawnSync('java', ['-version'], { encoding: 'utf8' });
  if (result.error !== undefined) {
    throw new Advice(
      `Java was not found; the local Kafka needs version ${MIN_JAVA} or newer. ${how}`,
    );
  }
  const output = `${result.stderr}${result.stdout}`;
  const match = /version "(\d+)(?:\.(\d+))?/.exec(output);
  if (result.status !== 0 || match === null) {
    throw new Advice(`\`java -version\` does not work here: ${output.trim()}\n${how}`);
  }
  // Up to 8 it called itself 1.8.
  const major = match[1] === '1' ? Number(match[2]) : Number(match[1]);
  if (major < MIN_JAVA) {
    throw new Advice(
      `The local Kafka needs Java ${MIN_JAVA} or newer; \`java\` here is version ${major}. Put a newer one first in PATH. ${how}`,
    );
  }
}

/** Checks Maven before minutes of installing, and only if there is something to fetch. */
async function checkMaven() {
  const { findKafkaLibs, MAVEN_MISSING } = await import('./kafka/libs.mjs');
  if ((await findKafkaLibs()) !== null) return;
  if (spawnSync('mvn', ['-v'], { stdio: 'ignore' }).error !== undefined) {
    throw new Advice(MAVEN_MISSING);
  }
}

async function installPackages() {
  if (packagesAreCurrent()) return;
  checkFreeSpace();
  const npmCli = process.env.npm_execpath;
  const [command, args] =
    npmCli !== undefined && npmCli.endsWith('.js') ? [process.execPath, [npmCli]] : ['npm', []];
  const source = reachesRegistry(command, args) ? QUICK_RETRIES : ['--offline'];
  await step(
    'installing the npm packages (0.8 GB)',
    command,
    [...args, 'ci', '--no-audit', '--no-fund', ...source],
    { advice: adviceOnInstall },
  );
}

/**
 * Tries one request. Without a network `npm ci` repeats those of every package for more than eight minutes
 * before it fails; from its cache alone it installs or fails at once. Only a failure of the network
 * counts: not every registry answers pings.
 * @param {string} command
 * @param {string[]} args
 */
function reachesRegistry(command, args) {
  const ping = [...args, 'ping', '--fetch-retries=1', '--fetch-retry-mintimeout=1000'];
  const { status, stderr } = spawnSync(command, ping, {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: PING_TIMEOUT_MS,
  });
  if (status === 0 || status === null || !NO_NETWORK.test(stderr)) return true;
  console.error(stderr.trimEnd());
  return false;
}

/** @param {string} output of npm */
function adviceOnInstall(output) {
  if (/ENOSPC/.test(output)) {
    return `The disk is full: the installation needs ${MIN_FREE_BYTES_INSTALL / 1024 ** 2} MiB. Make room and run the same command again.`;
  }
  if (NO_NETWORK.test(output)) return NO_NETWORK_ADVICE;
  return 'npm could not install the packages; its message is above. Run the same command again after you have repaired the cause.';
}

/**
 * Whether node_modules matches package-lock.json. Contents are compared rather than
 * times, because a git checkout changes the times.
 */
function packagesAreCurrent() {
  const wanted = readJson(join(ROOT, 'package-lock.json'))?.packages;
  const present = readJson(join(ROOT, 'node_modules', '.package-lock.json'))?.packages;
  if (wanted === undefined) throw new Advice('package-lock.json is missing or damaged.');
  if (present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.includes('node_modules/')) return true;
    const found = present[path];
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

/** @param {string} file */
function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function checkFreeSpace() {
  const { bavail, bsize } = fs.statfsSync(ROOT);
  const free = bavail * bsize;
  if (free >= MIN_FREE_BYTES_INSTALL) return;
  throw new Advice(
    `There are only ${Math.floor(free / 1024 ** 2)} MiB free on the disk of ${ROOT}; the installation needs ${MIN_FREE_BYTES_INSTALL / 1024 ** 2}. Make room and try again.`,
  );
}

function checkEngine() {
  const scope = join(ROOT, 'node_modules', '@chdb');
  const installed = fs.existsSync(scope) ? fs.readdirSync(scope) : [];
  if (installed.some((name) => name.startsWith('lib-'))) return;
  throw new Advice(
    `There is no ClickHouse engine for ${process.platform}-${process.arch} among the npm packages (Linux with glibc and macOS, x64 and arm64, have one). Set CLICKHOUSE_URL to a ClickHouse that you already have.`,
  );
}

async function fetchKafka() {
  const { ensureKafkaLibs, findKafkaLibs } = await import('./kafka/libs.mjs');
  if ((await findKafkaLibs()) !== null) return;
  const done = announce('fetching the local Kafka with Maven (43 MB)');
  try {
    await ensureKafkaLibs();
    done(true);
  } catch (error) {
    done(false);
    throw new Advice(error instanceof Error ? error.message : String(error));
  }
}

async function build() {
  const turbo = join(ROOT, 'node_modules', 'turbo', 'bin', 'turbo');
  await step('building', process.execPath, [turbo, 'run', 'build', '--output-logs=errors-only'], {
    quiet: true,
    env: {
      ...process.env,
      TURBO_TELEMETRY_DISABLED: '1',
      TURBO_NO_UPDATE_NOTIFIER: '1',
      DO_NOT_TRACK: '1',
    },
    advice: () => 'The build failed; the message of the compiler is above.',
  });
}

/**
 * Runs one command, and reports its begin, its progress and its end.
 * @param {string} what
 * @param {string} command
 * @param {string[]} args
 * @param {{ advice: (output: string) => string, quiet?: boolean, env?: NodeJS.ProcessEnv }} options
 *   `advice` makes a sentence of a failed command's output; `quiet` shows the output only then.
 */
async function step(what, command, args, options) {
  const isQuiet = options.quiet === true;
  const done = announce(what, isQuiet ? 1500 : 0);
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: options.env ?? process.env,
  });
  let output = '';
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.on('data', (chunk) => {
      output = (output + chunk.toString()).slice(-OUTPUT_KEPT_CHARS);
      if (!isQuiet) to.write(chunk);
    });
  }
  const result = await new Promise((resolve) => {
    child.once('error', resolve);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  done(result === 0);
  if (result === 0) return;
  if (isQuiet && output !== '') console.error(output.trimEnd());
  const reason = result instanceof Error ? result.message : `it ended with ${result}`;
  throw new Advice(`${options.advice(output)} (${reason})`);
}

/**
 * Reports the present step, after `delayMs` (so that quick steps stay unmentioned), and then every
 * ten seconds that it continues. Returns the function that reports the end.
 * @param {string} what
 */
function announce(what, delayMs = 0) {
  const began = Date.now();
  let said = false;
  const say = () => {
    said = true;
    console.log(`sockscope: ${what} ...`);
  };
  const first = delayMs === 0 ? undefined : setTimeout(say, delayMs);
  if (delayMs === 0) say();
  const again = setInterval(() => {
    console.log(`sockscope: still ${what} (${Math.round((Date.now() - began) / 1000)} s)`);
  }, STILL_WORKING_MS);
  return (/** @type {boolean} */ isDone) => {
    clearTimeout(first);
    clearInterval(again);
    if (said && isDone) {
      console.log(`sockscope: ${what}: done in ${((Date.now() - began) / 1000).toFixed(1)} s`);
    }
  };
}

/** @param {string} name */
function isSet(name) {
  return (process.env[name] ?? '').trim() !== '';
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Advice)) throw error;
  console.error(`sockscope: ${error.message}`);
  process.exitCode = 1;
}
