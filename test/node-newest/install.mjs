// Installs the packages of the lock file beside this file, unless that is done. It runs as a program and is
// imported by test/check.mjs.
import { spawn } from 'node:child_process';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const LOCK = join(FOLDER, 'package-lock.json');
/** The lock file that was installed. */
const INSTALLED = join(FOLDER, 'node_modules', '.installed-lock.json');

/** Returns whether it is installed; npm explains its errors. */
export async function installNewestNode() {
  const [wanted, installed] = await Promise.all([
    readFile(LOCK, 'utf8'),
    readFile(INSTALLED, 'utf8').catch(() => null),
  ]);
  if (wanted === installed) return true;
  const ok = await new Promise((resolve) => {
    const npm = spawn('npm', ['ci', '--no-audit', '--no-fund'], {
      cwd: FOLDER,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    npm.once('error', () => resolve(false));
    npm.once('close', (code) => resolve(code === 0));
  });
  if (ok) await copyFile(LOCK, INSTALLED);
  return ok;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = (await installNewestNode()) ? 0 : 1;
}
