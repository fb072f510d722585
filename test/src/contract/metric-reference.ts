import { readText, repositoryFiles } from './repository.js';

/** A name and its help, both literals, as all our metrics are declared. */
const DECLARATION = /(['`])(sockscope_\w+)\1,\s*(?:help:\s*)?(['"`])((?:(?!\3)[^])*)\3/g;

const SECTIONS: readonly (readonly [title: string, prefix: string])[] = [
  ['proxy', 'sockscope_proxy_'],
  ['ingest', 'sockscope_ingest_'],
  ['query', 'sockscope_query_'],
  ['every service', 'sockscope_'],
];

/** Returns the text of docs/reference/metrics.md. */
export function metricReference(): string {
  const help = new Map<string, string>();
  for (const file of repositoryFiles('services/*/src/**/*.ts')) {
    if (file.endsWith('.test.ts') || file.includes('/testing/')) continue;
    for (const [, , name = '', , text = ''] of readText(file).matchAll(DECLARATION)) {
      help.set(name, text);
    }
  }
  const left = new Set([...help.keys()].toSorted());
  const sections = SECTIONS.map(([title, prefix]) => {
    const rows = [...left]
      .filter((name) => name.startsWith(prefix))
      .map((name) => {
        left.delete(name);
        return `| \`${name}\` | ${(help.get(name) ?? '').replaceAll('|', '\\|')} |`;
      });
    return `## ${title}\n\n| metric | meaning |\n|---|---|\n${rows.join('\n')}\n`;
  });
  return `# Metrics

\`npm run generate\` makes this page from the sources. Each service answers \`/metrics\` on its operations port. It adds the metrics of Node, with the prefix \`sockscope_nodejs_\` or \`sockscope_process_\`.

${sections.join('\n')}`;
}
