// Lists the shipped packages of others: run-time dependencies of the services, and the packages in the
// dashboard's scripts. Read from the lock file.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Workspaces that the release and the images consist of. */
export const WORKSPACES = [
  'schemas',
  'services/runtime',
  'services/proxy',
  'services/ingest',
  'services/query',
];
/** Its packages are inside of its scripts. */
const BUNDLED = 'services/query/web';

/**
 * @typedef {{ version?: string, license?: string, link?: boolean,
 *   os?: string[], cpu?: string[], libc?: string[], dependencies?: Record<string, string>,
 *   optionalDependencies?: Record<string, string>, peerDependencies?: Record<string, string> }} Locked
 * @typedef {{ name: string, version: string, licence: string | undefined }} Package
 */

const { glibcVersionRuntime } = /** @type {any} */ (process.report.getReport()).header;
const LIBC = glibcVersionRuntime === undefined ? 'musl' : 'glibc';

/** @type {(wanted: string[] | undefined, here: string) => boolean} */
const matches = (wanted, here) => wanted === undefined || wanted.includes(here);

/**
 * The shipped packages for the platform of this machine.
 *
 * @returns {Package[]} sorted by name
 */
export function shippedPackages() {
  /** @type {Record<string, Locked>} */
  const packages = JSON.parse(readFileSync(`${ROOT}package-lock.json`, 'utf8')).packages;
  /** Finds the package as Node would from that folder. @type {(name: string, from: string) => string | null} */
  const find = (name, from) => {
    for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
      const path = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
      if (path in packages) return packages[path]?.link === true ? null : path;
      if (folder === '') return null;
    }
  };
  /** @type {Set<string>} */
  const found = new Set();
  const open = [...WORKSPACES, BUNDLED];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const { dependencies, optionalDependencies, peerDependencies } = packages[path] ?? {};
    for (const name of Object.keys({
      ...dependencies,
      ...optionalDependencies,
      ...peerDependencies,
    })) {
      const next = find(name, path);
      if (next === null || found.has(next)) continue;
      const { os, cpu, libc } = packages[next] ?? {};
      if (!matches(os, process.platform) || !matches(cpu, process.arch)) continue;
      if (!matches(libc, LIBC)) continue;
      found.add(next);
      open.push(next);
    }
  }
  return [...found]
    .map((path) => {
      const { version = '', license } = packages[path] ?? {};
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      return { name, version, licence: license };
    })
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

/**
 * The bill of materials of these packages, in CycloneDX. `npm sbom --omit dev` would leave out every
 * package that a test names too, kafkajs among them, so everything is asked for and then cut down.
 *
 * @param {readonly Package[]} packages
 * @returns {string}
 */
export function sbomOf(packages) {
  const whole = JSON.parse(
    execFileSync('npm', ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx'], {
      cwd: ROOT,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 ** 2,
    }),
  );
  const manifests = ['.', ...WORKSPACES].map((folder) =>
    JSON.parse(readFileSync(`${ROOT}${folder}/package.json`, 'utf8')),
  );
  const kept = new Set(
    [...manifests, ...packages].map(({ name, version }) => `${name}@${version}`),
  );
  const isKept = (/** @type {string} */ ref) => kept.has(ref);
  const components = whole.components.filter((/** @type {any} */ each) => isKept(each['bom-ref']));
  const listed = new Set(components.map((/** @type {any} */ each) => each['bom-ref']));
  const missing = packages.filter(({ name, version }) => !listed.has(`${name}@${version}`));
  if (missing.length > 0) {
    throw new Error(`not in the bill of materials: ${missing.map(({ name }) => name).join(', ')}`);
  }
  // npm calls it by the folder that it is in.
  whole.metadata.component.name = manifests[0].name;
  whole.components = components;
  whole.dependencies = whole.dependencies
    .filter((/** @type {any} */ each) => isKept(each.ref))
    .map((/** @type {any} */ each) => ({ ...each, dependsOn: each.dependsOn.filter(isKept) }));
  return JSON.stringify(whole, null, 2);
}

// `npm run sbom`
if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(sbomOf(shippedPackages()));
