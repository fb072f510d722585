import type { ClashConnections } from '@sockscope/schemas/api';
import type { CoverageReader } from '../coverage/coverage.js';
import type { Mask } from '../mask/mask.js';
import { filterOf, restrictedTo } from '../filters/filters.js';
import { addExactly } from '../sums/measures.js';
import { openSessionsQuery } from '../sql/active.js';
import type { OpenSession } from '../sql/active.js';
import type { Asking, Store } from '../store/store.js';

/** Such a dashboard draws every row: more of them would stop the browser. */
const CONNECTIONS_MAX = 2_000;

/** Open sessions, the newest first, as mihomo would tell of them. */
export async function clashConnectionsOf(
  { store, coverage }: { readonly store: Store; readonly coverage: CoverageReader },
  who: { readonly onlyUser: string | null; readonly mask: Mask },
  asking: Asking,
): Promise<ClashConnections> {
  const filter = filterOf(restrictedTo(who.onlyUser, {}));
  const rows = await store.ask(
    openSessionsQuery(await coverage.openFrom(), filter, CONNECTIONS_MAX),
    asking,
  );
  const connections = rows.map((row) => connectionOf(row, who.mask));
  return {
    downloadTotal: connections.reduce((sum, each) => addExactly(sum, each.download), 0),
    uploadTotal: connections.reduce((sum, each) => addExactly(sum, each.upload), 0),
    memory: process.memoryUsage.rss(),
    connections,
  };
}

function connectionOf(row: OpenSession, mask: Mask): ClashConnections['connections'][number] {
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
      sourceIP: mask.address(row.source_ip),
      sourcePort: String(row.source_port),
      destinationIP: row.dest_ip ?? '',
      destinationPort: String(row.dest_port),
      host: isName ? row.dest_host : '',
      inboundUser: mask.user(row.user),
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
