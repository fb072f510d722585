import { embeddedIpv4, parsePrefix, prefixCovers } from '@sockscope/schemas/net';
import type { IpAddress, Prefix } from '@sockscope/schemas/net';
import { createPrefixIndex, firstAround, sortPrefixes } from './prefix-index.js';

/** Addresses that a proxy must not reach by accident. Only an explicit rule opens them: docs/adr/0008. */
export const PROTECTED_CLASSES = [
  'loopback',
  'private',
  'link_local',
  'cgnat',
  'multicast',
  'metadata',
  'unspecified',
  'reserved',
] as const;
export type ProtectedClass = (typeof PROTECTED_CLASSES)[number];

export interface ProtectedRange {
  readonly class: ProtectedClass;
  readonly prefix: Prefix;
}

/** IANA's special-purpose registries (RFC 6890 and successors), and the clouds' metadata services. */
const RANGES: Readonly<Record<ProtectedClass, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  private: [
    '10.0.0.0/8',
    '172.16.0.0/12',
    '192.168.0.0/16',
    'fc00::/7',
    'fec0::/10',
    '64:ff9b:1::/48',
  ],
  link_local: ['169.254.0.0/16', 'fe80::/10'],
  cgnat: ['100.64.0.0/10'],
  multicast: ['224.0.0.0/4', 'ff00::/8'],
  metadata: [
    // Nearly every cloud; AWS ECS tasks; AWS EKS pods; Alibaba; Azure's wire server; Oracle.
    '169.254.169.254/32',
    '169.254.170.2/32',
    '169.254.170.23/32',
    '100.100.100.200/32',
    '168.63.129.16/32',
    '192.0.0.192/32',
    // AWS, AWS EKS pods, Google.
    'fd00:ec2::254/128',
    'fd00:ec2::23/128',
    'fd20:ce::254/128',
  ],
  // Linux connects to itself for the first of each.
  unspecified: ['0.0.0.0/8', '::/128'],
  // Protocol assignments, documentation, the relays of 6to4, benchmarks, future use; for IPv6 also
  // discard-only and dummy addresses, ORCHID and segment routing.
  reserved: [
    '192.0.0.0/24',
    '192.0.2.0/24',
    '192.88.99.0/24',
    '198.18.0.0/15',
    '198.51.100.0/24',
    '203.0.113.0/24',
    '240.0.0.0/4',
    '100::/64',
    '100:0:0:1::/64',
    // 2001::/23 without Teredo, whose IPv4 address decides, and without the parts that the registry lists
    // as reachable: 2001:1::/32, 2001:3::/32, 2001:4::/32, 2001:20::/28 and 2001:30::/28.
    '2001:2::/32',
    '2001:5::/32',
    '2001:6::/31',
    '2001:8::/29',
    '2001:10::/28',
    '2001:40::/26',
    '2001:80::/25',
    '2001:100::/24',
    '2001:db8::/32',
    '3fff::/20',
    '5f00::/16',
  ],
};

function rangesOf(protectedClass: ProtectedClass): ProtectedRange[] {
  return RANGES[protectedClass].map((text) => {
    const prefix = parsePrefix(text);
    if (typeof prefix === 'string') throw new TypeError(`${text}: ${prefix}`);
    return { class: protectedClass, prefix };
  });
}

const PROTECTED_RANGES: readonly ProtectedRange[] = PROTECTED_CLASSES.flatMap(rangesOf);

function indexOf(bits: IpAddress['bits']) {
  const ranges = sortPrefixes(PROTECTED_RANGES.filter(({ prefix }) => prefix.ip.bits === bits));
  return { ranges, blocks: createPrefixIndex(bits / 32, ranges) };
}

const INDEXES = { v4: indexOf(32), v6: indexOf(128) };

/** The most specific protected range that holds the address; null for an ordinary address. */
export function protectedRangeOf(ip: IpAddress): ProtectedRange | null {
  const { ranges, blocks } = ip.bits === 32 ? INDEXES.v4 : INDEXES.v6;
  return ranges[firstAround(blocks, ip.words)] ?? null;
}

/** The number of a range, the same in every thread; -1 for none. */
export function rangeNumberOf(range: ProtectedRange | null): number {
  return range === null ? -1 : PROTECTED_RANGES.indexOf(range);
}

/** The most specific protected range that holds the whole block; null if the block reaches beyond. */
export function protectedRangeAround(block: Prefix): ProtectedRange | null {
  const around = PROTECTED_RANGES.filter(({ prefix }) => prefixCovers(prefix, block));
  return around.toSorted((a, b) => b.prefix.length - a.prefix.length)[0] ?? null;
}

/** The address and the IPv4 addresses that hide in it. A connection goes to the first. */
export function facesOf(ip: IpAddress): readonly IpAddress[] {
  return ip.bits === 32 ? [ip] : [ip, ...embeddedIpv4(ip)];
}
