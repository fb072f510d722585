/**
 * Which brokers this product works with. Of some requests it speaks one version only, because they are
 * encoded or decoded here; of the others any that kafkajs 2.2.4 knows. A client compares that with
 * the broker's versions before it sends anything else, and the support matrix in the docs is made from
 * the same table.
 */

/** First and last version of a request, both included. */
export type VersionRange = readonly [min: number, max: number];

/** The use that a client is made for. */
export type ClientUse = 'produce' | 'consume' | 'read' | 'admin';

interface ApiNeed {
  readonly api: string;
  /** Number of the request in Kafka's protocol. */
  readonly key: number;
  readonly versions: VersionRange;
  readonly uses: readonly ClientUse[];
}

export const API_NEEDS: readonly ApiNeed[] = [
  { api: 'Produce', key: 0, versions: [7, 7], uses: ['produce'] },
  { api: 'Fetch', key: 1, versions: [11, 11], uses: ['consume', 'read'] },
  { api: 'ListOffsets', key: 2, versions: [0, 3], uses: ['consume', 'admin'] },
  { api: 'Metadata', key: 3, versions: [0, 6], uses: ['produce', 'consume', 'read', 'admin'] },
  { api: 'OffsetCommit', key: 8, versions: [0, 5], uses: ['consume'] },
  { api: 'OffsetFetch', key: 9, versions: [1, 4], uses: ['consume'] },
  { api: 'FindCoordinator', key: 10, versions: [0, 2], uses: ['consume'] },
  { api: 'JoinGroup', key: 11, versions: [0, 5], uses: ['consume'] },
  { api: 'Heartbeat', key: 12, versions: [0, 3], uses: ['consume'] },
  { api: 'SyncGroup', key: 14, versions: [0, 3], uses: ['consume'] },
];

/** Versions by the number of the request, as a broker answers to ApiVersions. */
export type BrokerVersions = Readonly<
  Record<number, { readonly minVersion: number; readonly maxVersion: number } | undefined>
>;

/** The request that a broker lacks for a use, as one clause; null if it lacks none. */
export function lackOf(versions: BrokerVersions, use: ClientUse): string | null {
  for (const { api, key, versions: ours, uses } of API_NEEDS) {
    if (!uses.includes(use)) continue;
    const theirs = versions[key];
    if (theirs === undefined) return `it does not support ${api}`;
    const [min, max] = ours;
    if (theirs.maxVersion < min || theirs.minVersion > max) {
      const wanted = min === max ? `version ${min}` : `versions ${min} to ${max}`;
      return `it supports ${api} ${theirs.minVersion} to ${theirs.maxVersion}; needed: ${wanted}`;
    }
  }
  return null;
}

export interface SupportedBroker {
  readonly name: string;
  /** `tried`: a test runs against it. `read`: follows from the versions in its documentation. */
  readonly basis: 'tried' | 'read';
  readonly note: string;
  readonly produce: VersionRange;
  readonly fetch: VersionRange;
}

/** Rows of the support matrix. */
export const BROKERS: readonly SupportedBroker[] = [
  {
    name: 'Apache Kafka 4.4.0',
    basis: 'tried',
    note: 'every test',
    produce: [0, 13],
    fetch: [4, 18],
  },
  {
    name: 'Apache Kafka 3.9.2',
    basis: 'tried',
    note: 'producing and consuming',
    produce: [0, 11],
    fetch: [0, 17],
  },
  {
    name: 'Apache Kafka 2.4.1',
    basis: 'tried',
    note: 'producing and consuming',
    produce: [0, 8],
    fetch: [0, 11],
  },
  {
    name: 'Apache Kafka 2.0.1',
    basis: 'tried',
    note: 'refused at the start',
    produce: [0, 6],
    fetch: [0, 8],
  },
  {
    name: 'Amazon MSK and Confluent Cloud',
    basis: 'read',
    note: 'Apache Kafka from 2.4 on',
    produce: [0, 8],
    fetch: [0, 11],
  },
  { name: 'Redpanda', basis: 'read', note: '', produce: [0, 7], fetch: [4, 11] },
  {
    name: 'Azure Event Hubs',
    basis: 'read',
    note: 'the proxy could write, ingest cannot read',
    produce: [0, 7],
    fetch: [4, 6],
  },
];

/** The request that the broker of a row lacks; null if it works. */
export function lackOfBroker({ produce, fetch }: SupportedBroker): string | null {
  const range = ([minVersion, maxVersion]: VersionRange) => ({ minVersion, maxVersion });
  // The matrix compares the two requests that are encoded and decoded here, of one version each.
  const versions: Record<number, { minVersion: number; maxVersion: number }> = Object.fromEntries(
    API_NEEDS.map(({ key, versions: ours }) => [key, range(ours)]),
  );
  versions[0] = range(produce);
  versions[1] = range(fetch);
  return lackOf(versions, 'produce') ?? lackOf(versions, 'consume');
}
