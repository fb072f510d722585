import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  formatListenAddress,
  type ListenAddress,
  settingReferences,
  type SettingReference,
} from '@sockscope/runtime';
import { ROOT } from './repository.js';

type Schema = Parameters<typeof settingReferences>[0];

interface Program {
  readonly title: string;
  readonly module: string;
  readonly name: string;
}

const PROGRAMS: readonly Program[] = [
  { title: 'proxy', module: 'services/proxy/dist/config.js', name: 'proxyConfig' },
  { title: 'ingest', module: 'services/ingest/dist/config.js', name: 'ingestConfig' },
  { title: 'query', module: 'services/query/dist/config.js', name: 'queryConfig' },
  { title: 'npm start', module: 'infra/local/dist/supervisor/config.js', name: 'localConfig' },
];

interface Row extends SettingReference {
  readonly programs: readonly string[];
}

/** Every setting of every program, one row each, with the programs that read it. */
async function allSettings(): Promise<Row[]> {
  const rows = new Map<string, Row>();
  for (const { title, module, name } of PROGRAMS) {
    // The compiled file, because a package exports only modules for other packages.
    const loaded = (await import(pathToFileURL(join(ROOT, module)).href)) as Record<string, Schema>;
    const schema = loaded[name];
    if (schema === undefined) throw new Error(`${module} has no ${name}`);
    for (const setting of settingReferences(schema)) {
      const known = rows.get(setting.env);
      rows.set(setting.env, {
        ...(known ?? setting),
        programs: [...(known?.programs ?? []), title],
      });
    }
  }
  return [...rows.values()];
}

interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** The description explains defaults that depend on the machine. */
const MACHINE_DEPENDENT = new Set(['PROXY_ID']);

/** Writes a value for the environment: a list with commas, an address as host:port, ports as 1-9. */
function asText(value: string): string {
  if (!/^[[{]/.test(value)) return value;
  const parsed = JSON.parse(value) as string[] | (Partial<ListenAddress> & Partial<PortRange>);
  if (Array.isArray(parsed)) return parsed.join(',');
  const { host, port, first, last } = parsed;
  if (first !== undefined) return first === last ? `${first}` : `${first}-${last}`;
  return host === undefined || port === undefined ? value : formatListenAddress({ host, port });
}

function line(row: Row): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const value = MACHINE_DEPENDENT.has(row.env) ? '' : asText(row.default);
  return `| \`${row.env}\` | \`${row.path}\` | ${value === '' ? '' : `\`${cell(value)}\``} | ${cell(row.description)} |`;
}

function table(rows: readonly Row[]): string {
  return [
    '| variable | in the file | default | meaning |',
    '|---|---|---|---|',
    ...rows.map(line),
  ].join('\n');
}

/** The text of docs/reference/configuration.md. */
export async function configReference(): Promise<string> {
  const rows = await allSettings();
  const only = (title: string): Row[] =>
    rows.filter((row) => row.programs.filter((each) => each !== 'npm start').join() === title);
  const shared = rows.filter(
    (row) => row.programs.filter((each) => each !== 'npm start').length > 1,
  );
  const local = rows.filter((row) => row.programs.join() === 'npm start');
  return `# Configuration reference

\`npm run generate\` makes this page from the schemas. [Configuration](../02-configuration.md) explains how settings are read. Units of durations are \`ms\`, \`s\`, \`m\`, \`h\`, \`d\`; units of sizes are \`B\`, \`KiB\`, \`MiB\`, \`GiB\`, \`TiB\`. A number without a unit is milliseconds or bytes.

## Several services

${table(shared)}

## proxy

${table(only('proxy'))}

## ingest

${table(only('ingest'))}

## query

${table(only('query'))}

## npm start

It also reads the addresses of the services, and passes all other variables on to them.

${table(local)}
`;
}
