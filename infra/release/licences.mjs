#!/usr/bin/env node
// Checks the licences of all packages that are not for development alone, and that the bill of
// materials has all that is shipped: `npm run licences`. Ends with 1 and names the packages if one
// has a licence that is not on the list.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sbomOf, shippedPackages } from './shipped.mjs';

/** Licences that allow use and redistribution with their notice. */
const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Unlicense',
]);

/** Packages whose manifest names no licence; this is the one of their source. */
const SOURCES = [{ name: /^@chdb\/lib-/, licence: 'Apache-2.0' }];

/** @param {string} licence an SPDX expression without nesting */
function isAllowed(licence) {
  const text = licence.replaceAll(/[()]/g, '');
  return text.includes(' OR ')
    ? text.split(' OR ').some((each) => ALLOWED.has(each.trim()))
    : text.split(' AND ').every((each) => ALLOWED.has(each.trim()));
}

/** The lock file's entries of packages that are not only for development. */
function readLicences() {
  const lock = fileURLToPath(new URL('../../package-lock.json', import.meta.url));
  /** @type {Record<string, { version?: string, license?: string, dev?: boolean, link?: boolean }>} */
  const packages = JSON.parse(readFileSync(lock, 'utf8')).packages;
  return Object.entries(packages)
    .filter(([path, { dev, link }]) => path.includes('node_modules/') && !dev && !link)
    .map(([path, { version = '', license }]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      const source = SOURCES.find((each) => each.name.test(name));
      const licence = license ?? source?.licence ?? 'unknown';
      return { name, version, licence, isAllowed: isAllowed(licence) };
    })
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

const refused = readLicences().filter((each) => !each.isAllowed);
for (const { name, version, licence } of refused) console.error(`${name} ${version}: ${licence}`);
if (refused.length > 0) process.exitCode = 1;
else console.log('every package that runs in production has a licence on the list');
const shipped = shippedPackages();
sbomOf(shipped);
console.log(`the bill of materials has all ${shipped.length} packages that are shipped here`);
