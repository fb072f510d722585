import { sep } from 'node:path';

/** Which services run code of a folder, and how the folder is compiled. */
interface Part {
  readonly folder: string;
  readonly watched: readonly string[];
  readonly build: readonly string[];
  readonly services: readonly ServiceName[];
}

export type ServiceName = 'proxy' | 'ingest' | 'query';

const ALL: readonly ServiceName[] = ['proxy', 'ingest', 'query'];
const tsc = (...projects: string[]): string[] => ['tsc', '-b', ...projects];
const allServices = tsc(...ALL.map((name) => `services/${name}`));

export const PARTS: readonly Part[] = [
  { folder: 'schemas', watched: ['src'], build: allServices, services: ALL },
  { folder: 'services/runtime', watched: ['src'], build: allServices, services: ALL },
  ...ALL.map((name) => ({
    folder: `services/${name}`,
    watched: name === 'ingest' ? ['src', 'migrations'] : ['src'],
    build: tsc(`services/${name}`),
    services: [name],
  })),
  {
    folder: 'services/query/web',
    watched: ['src', 'index.html'],
    build: ['vite', 'build', 'services/query/web', '--logLevel', 'warn'],
    services: ['query'],
  },
];

/** The steps after a change of files: commands of the installed packages, then restarts. */
export interface Work {
  readonly builds: readonly (readonly string[])[];
  readonly services: readonly ServiceName[];
}

/** @param files relative to the checkout; tests and files that no part watches count for nothing. */
export function workFor(files: readonly string[]): Work {
  const parts = PARTS.filter((part) => files.some((file) => concerns(part, file)));
  const builds = new Map(parts.map(({ build }) => [build.join(' '), build]));
  const services = ALL.filter((name) => parts.some((part) => part.services.includes(name)));
  // Compiling all services compiles each of them.
  if (builds.has(allServices.join(' '))) {
    for (const name of ALL) builds.delete(tsc(`services/${name}`).join(' '));
  }
  return { builds: [...builds.values()], services };
}

function concerns({ folder, watched }: Part, file: string): boolean {
  const path = file.split(sep).join('/');
  if (/\.test\.tsx?$|~$|\/\./.test(path)) return false;
  return watched.some(
    (each) => path === `${folder}/${each}` || path.startsWith(`${folder}/${each}/`),
  );
}
