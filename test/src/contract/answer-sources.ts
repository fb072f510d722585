import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BOUND_NAMES, FILTER_NAMES } from '@sockscope/schemas/api';
import type { FilterName } from '@sockscope/schemas/api';
import { FILTER_FIELDS, fieldOf } from '@sockscope/schemas';
import { ROOT } from './repository.js';

/** The part of the query service that decides where an answer comes from. */
interface Service {
  readonly rollupSourceOf: (
    by: string,
    filters: object,
  ) => { readonly kind: 'dimension' | 'pairs' } | null;
  readonly sessionsTableOf: (filters: object) => string;
  readonly isAtEnd: (by: string) => boolean;
}

async function service(): Promise<Service> {
  const load = (path: string) =>
    import(pathToFileURL(join(ROOT, 'services/query/dist', path)).href) as Promise<object>;
  return { ...(await load('filters/filters.js')), ...(await load('sql/sums.js')) } as Service;
}

/** The reports with the same sources, and their dimension. */
const REPORTS: readonly (readonly [title: string, by: string])[] = [
  ['`stats`, `traffic`, profiles', 'total'],
  ['users', 'user'],
  ['destinations', 'destination'],
  ['ports', 'port'],
  ['sources', 'source'],
  ['protocols', 'protocol'],
  ['proxies', 'proxy'],
  ['rules', 'acl_rule'],
  ['close reasons', 'close_reason'],
  ['statuses', 'status'],
  ['destination addresses', 'destination_address'],
  ['egress addresses', 'egress_address'],
  ['`flows`', 'flow'],
];

/** Values that are answered differently. */
function samplesOf(name: FilterName): readonly (readonly [label: string, value: unknown])[] {
  if (BOUND_NAMES.some((bound) => bound === name)) return [[`\`${name}\``, 1]];
  const field = FILTER_FIELDS.find((each) => each === name);
  switch (field === undefined ? undefined : fieldOf(field).filter) {
    case 'suffix':
      return [
        [`\`${name}\`, a name`, ['a.example']],
        [`\`${name}\`, \`*.example.com\``, ['*.example.com']],
      ];
    case 'cidr':
      return [
        [`\`${name}\`, an address`, ['192.0.2.1']],
        [`\`${name}\`, a block`, ['192.0.2.0/24']],
      ];
    case 'equals':
      return [[`\`${name}\``, 'x']];
    case 'one_of':
    case undefined:
      return [[`\`${name}\``, name.endsWith('_port') ? [443] : ['x']]];
  }
}

/** The text of docs/reference/answer-sources.md. */
export async function answerSources(): Promise<string> {
  const { rollupSourceOf, sessionsTableOf, isAtEnd } = await service();
  const sourceOf = (by: string, filters: object): string => {
    const source = rollupSourceOf(by, filters);
    if (source !== null) return source.kind === 'pairs' ? 'P' : 'S';
    return isAtEnd(by) ? 'E' : 'M';
  };
  const questions: readonly (readonly [string, object])[] = [
    ['none', {}],
    ...FILTER_NAMES.flatMap((name) =>
      samplesOf(name).map(([label, value]) => [label, { [name]: value }] as const),
    ),
    ['`user` and `dest_port`', { user: ['x'], dest_port: [443] }],
    ['`user` and `protocol`', { user: ['x'], protocol: 'tcp' }],
  ];
  const rows = questions.map(
    ([label, filters]) =>
      `| ${label} | ${REPORTS.map(([, by]) => sourceOf(by, filters)).join(' | ')} | \`${sessionsTableOf(filters)}\` |`,
  );
  return `# Where answers come from

Generated from the code that chooses the tables; \`npm run generate\` makes it, and a test keeps it current.

| letter | tables | sessions are exact to | bytes are exact to | goes back |
|---|---|---|---|---|
| S | sums by one field, per hour, day and week; the ends of the range from \`sessions\` and \`session_traffic_1m\` | the millisecond | the minute | \`RETENTION_ROLLUP_DAYS\` for whole days, \`RETENTION_ROLLUP_HOURS\` for whole hours, else as M |
| P | sums by user, destination and port, per hour and day; the ends as above | the millisecond | the minute | \`RETENTION_PAIRS_DAYS\` for whole days, \`RETENTION_PAIRS_HOURS\` for whole hours, else as M |
| M | \`sessions\` for counts, \`session_traffic_1m\` for bytes | the millisecond | the minute | \`RETENTION_SESSIONS\` for counts, \`RETENTION_TRAFFIC\` for bytes |
| E | \`sessions\` alone: bytes count when the session ends | the millisecond | the end of the session | \`RETENTION_SESSIONS\` |

If sessions or minutes at an end of the range have expired, S and P round that end to whole UTC hours; \`range\` and \`bytes_range\` show it. M and E cannot: \`incomplete_minutes\` counts the missing minutes. By rule, close reason and status, S counts bytes when the session ends as well. Distinct users, destinations and sources, and quantiles, come from sketches per hour and day without a filter, else from \`sessions\`.

Addresses of destinations and egress have no sums ([ADR](../adr/0042-egress-addresses-have-no-sums.md)). By destination address, a range has at most 7 days. By egress address, it is limited by \`QUERY_ROWS_TO_READ_MAX\` only; the 422 names the longest possible range.

The columns are the lists of \`top/…\` and \`split=\`, if not named otherwise. The last column is the table that a page of \`sessions\`, its export and the ends of ranges read.

| filter | ${REPORTS.map(([title]) => title).join(' | ')} | \`sessions\` |
|---|${'---|'.repeat(REPORTS.length + 1)}
${rows.join('\n')}
`;
}
