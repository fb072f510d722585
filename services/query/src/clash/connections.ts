import type { ClashConnections, Session } from '@sockscope/schemas/api';
import { filterOf, restrictedTo } from '../filters/filters.js';
import type { Presenter } from '../mask/presenter.js';
import { openSessionsQuery, openTotalsQuery } from '../sql/active.js';
import type { OpenSession } from '../sql/active.js';
import type { Asking, Store } from '../store/store.js';
import { addExactly } from '../sums/measures.js';

/** Such a dashboard draws every row: more of them would stop the browser. */
const CONNECTIONS_MAX = 2_000;

export interface OpenConnections {
  readonly rows: readonly OpenSession[];
  readonly totals: { readonly bytes_sent: number; readonly bytes_received: number };
}

/** Open sessions, the newest first, and the bytes of all of them. */
export async function openConnections(
  store: Store,
  onlyUsers: readonly string[] | null,
  asking: Asking,
): Promise<OpenConnections> {
  const filter = filterOf(restrictedTo(onlyUsers, {}));
  const rows = await store.ask(openSessionsQuery(filter, CONNECTIONS_MAX), asking);
  if (rows.length < CONNECTIONS_MAX) return { rows, totals: sumOf(rows) };
  const [totals] = await store.ask(openTotalsQuery(filter), asking);
  return { rows, totals: totals ?? sumOf(rows) };
}

function sumOf(rows: readonly OpenSession[]): OpenConnections['totals'] {
  return {
    bytes_sent: rows.reduce((sum, row) => addExactly(sum, row.bytes_sent), 0),
    bytes_received: rows.reduce((sum, row) => addExactly(sum, row.bytes_received), 0),
  };
}

/** The same fields as mihomo has for them. */
export function shownConnections(
  { rows, totals }: OpenConnections,
  presenter: Presenter,
): ClashConnections {
  return {
    downloadTotal: totals.bytes_received,
    uploadTotal: totals.bytes_sent,
    memory: process.memoryUsage.rss(),
    connections: rows.map((row) => connectionOf(presenter.session(row))),
  };
}

function connectionOf(row: Session): ClashConnections['connections'][number] {
  const isName = row.dest_host !== row.dest_ip;
  return {
    id: row.session_id,
    upload: row.bytes_sent,
    download: row.bytes_received,
    start: row.started_at,
    chains: [row.proxy_id],
    rule: row.acl_rule_matched === null ? 'Match' : 'Rule',
    rulePayload: row.acl_rule_matched ?? '',
    metadata: {
      network: row.protocol,
      type: 'Socks5',
      sourceIP: row.source_ip,
      sourcePort: String(row.source_port),
      destinationIP: row.dest_ip ?? '',
      destinationPort: String(row.dest_port),
      host: isName ? row.dest_host : '',
      inboundUser: row.user,
      inboundName: row.proxy_id,
      inboundIP: '',
      inboundPort: '0',
      dnsMode: 'normal',
      process: '',
      processPath: '',
      remoteDestination: row.dest_ip ?? '',
      specialProxy: '',
      specialRules: '',
      sniffHost: '',
      sourceGeoIP: null,
      destinationGeoIP: null,
      sourceIPASN: '',
      destinationIPASN: '',
      uid: 0,
      dscp: 0,
    },
  };
}
