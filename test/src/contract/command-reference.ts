import { execFileSync } from 'node:child_process';
import type { DescribedCommand } from '@sockscope/runtime';
import { ROOT } from './repository.js';

export const SERVICES = ['proxy', 'ingest', 'query'] as const;
export type Service = (typeof SERVICES)[number];

/** The meaning of exit code 1, if it is more than "it did not work": `migrate --status` and so on. */
const EXIT_1: Readonly<Record<string, string>> = {
  'ingest migrate':
    'the database refused, or an applied file has changed; with `--status`, a migration is pending, changed or unknown',
  'ingest rebuild': 'the error names whether the tables were exchanged',
  'ingest rollups': 'a statement failed; the marks stay',
  'ingest forget': 'nothing or a part was removed; repeat it',
  'ingest skip': 'the partition does not wait there',
  'ingest rewind': 'ingest still runs, or Kafka refuses',
  'ingest dlq show': 'there is no such dead letter',
  'ingest dlq replay': 'some may have been sent; repeating is harmless',
};

/** Returns all commands of a service, as the program itself describes them. */
export function commandsOf(service: Service): readonly DescribedCommand[] {
  const program = `services/${service}/dist/main.js`;
  return JSON.parse(
    execFileSync(process.execPath, [program, '--commands'], { cwd: ROOT, encoding: 'utf8' }),
  ) as DescribedCommand[];
}

/** Returns the text of docs/reference/commands.md. */
export function commandReference(): string {
  const left = new Set(Object.keys(EXIT_1));
  const sections = SERVICES.map((service) => {
    const commands = commandsOf(service)
      .filter(({ isGroup }) => !isGroup)
      .map((command) => {
        left.delete(`${service} ${command.name}`);
        return section(service, command);
      });
    return `## ${service}\n\n${commands.join('\n')}`;
  });
  if (left.size > 0) throw new Error(`EXIT_1 names commands that are missing: ${[...left].join()}`);
  return `# Commands

\`npm run generate\` makes this page from the programs; \`--help\` shows the same. Results go to standard output, progress and errors to standard error.

Exit code 0: done. 1: not done, because Kafka or ClickHouse did not answer, or for the reason in its section. 2: a wrong configuration, with one line per problem.

Run \`migrate\`, \`verify\`, \`rebuild\` and \`forget\` as the user \`sockscope_migrate\` of \`grants plan\`. [Maintenance](../15-maintenance.md) shows when to use which command.

${sections.join('\n')}`;
}

function section(service: Service, command: DescribedCommand): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = command.options
    .filter(({ flag }) => flag !== '--commands')
    .map(
      ({ usage, description, mandatory }) =>
        `| \`${cell(usage)}\` | ${cell(description)}${mandatory ? ' (required)' : ''} |`,
    );
  const failure = EXIT_1[`${service} ${command.name}`];
  return [
    command.name === '' ? '' : `### ${service}: ${command.name}\n`,
    `${sentence(command.description)}${failure === undefined ? '' : ` Exit code 1: ${failure}.`}\n`,
    `\`\`\`\nnode services/${service}/dist/main.js ${command.example ?? command.name}\n\`\`\`\n`,
    rows.length === 0 ? '' : `| option | meaning |\n|---|---|\n${rows.join('\n')}\n`,
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function sentence(text: string): string {
  const whole = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return whole.endsWith('.') ? whole : `${whole}.`;
}
