#!/usr/bin/env node
// Makes the artefacts of a release: a tarball of the three services that needs nothing but Node, its
// checksum, a bill of materials and the licences of all that is in it.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sbomOf, shippedPackages, WORKSPACES } from './shipped.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const HELP = `Builds the release of this checkout.

  npm run release -- [--out DIR]

  --out DIR   where the files go (default release/)

It writes sockscope-VERSION-PLATFORM.tar.gz and its .sha256, sbom.cdx.json and LICENCES.txt. Unpack the
tarball into /opt on a machine of the same platform with Node 20.19 or newer; see docs for the units.

Example: npm run release -- --out /tmp/release`;

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(ROOT, 'release') },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}

/** @type {(command: string, args: string[], cwd?: string) => void} */
const run = (command, args, cwd = ROOT) => {
  execFileSync(command, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
};

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const name = `sockscope-${manifest.version}-${process.platform}-${process.arch}`;
const scratch = mkdtempSync(join(tmpdir(), 'sockscope-release-'));
const top = join(scratch, name);
mkdirSync(values.out, { recursive: true });

console.log(`release: building ${name}`);
run('npx', ['turbo', 'run', 'build']);
for (const file of [
  'package.json',
  'package-lock.json',
  '.npmrc',
  'LICENSE',
  'README.md',
  'CHANGELOG.md',
  'SECURITY.md',
]) {
  cpSync(join(ROOT, file), join(top, file));
}
for (const folder of [
  'docs',
  'infra/systemd',
  'infra/prometheus',
  'infra/grafana',
  'schemas/json',
]) {
  cpSync(join(ROOT, folder), join(top, folder), { recursive: true });
}
const migrations = 'services/ingest/migrations';
for (const folder of [
  ...WORKSPACES.map((each) => `${each}/dist`),
  migrations,
  'services/query/web/dist/site',
]) {
  cpSync(join(ROOT, folder), join(top, folder), {
    recursive: true,
    // No types, no maps, no test support: only code that runs.
    filter: (path) => !/(?:\.d\.ts|\.map|\.tsbuildinfo|\.test\.js)$|\/testing$/.test(path),
  });
}
for (const each of WORKSPACES)
  cpSync(join(ROOT, each, 'package.json'), join(top, each, 'package.json'));

console.log('release: installing the packages for production');
const chosen = WORKSPACES.flatMap((each) => ['-w', each]);
run('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', ...chosen], top);

const tarball = join(values.out, `${name}.tar.gz`);
run('tar', ['--owner=0', '--group=0', '--sort=name', '-czf', tarball, '-C', scratch, name]);
const hash = createHash('sha256').update(readFileSync(tarball)).digest('hex');
writeFileSync(`${tarball}.sha256`, `${hash}  ${basename(tarball)}\n`);

const shipped = shippedPackages();
writeFileSync(join(values.out, 'sbom.cdx.json'), sbomOf(shipped));
const licences = shipped.map((each) => `${each.name} ${each.version}: ${each.licence}\n`);
writeFileSync(join(values.out, 'LICENCES.txt'), licences.join(''));
rmSync(scratch, { recursive: true, force: true });
console.log(`release: ${tarball}`);
