import { parseIp } from '@sockscope/schemas/net';

/** One source: an IPv4 address, or the /64 from which an IPv6 host chooses its addresses. */
export function sourceKey(ip: string): string {
  if (!ip.includes(':')) return ip;
  return ipv6Key(parseIp(ip)?.words ?? [], 64);
}

/**
 * The networks that an address lies in, from the widest to the source itself, for limits that one
 * network must not use up. A customer has an IPv4 address, or an IPv6 network from a /48 to a /64.
 */
export function networksOf(ip: string): readonly string[] {
  if (!ip.includes(':')) return [ip];
  const words = parseIp(ip)?.words ?? [];
  return [ipv6Key(words, 48), ipv6Key(words, 56), ipv6Key(words, 64)];
}

function ipv6Key([high = 0, low = 0]: readonly number[], bits: 48 | 56 | 64): string {
  const kept = (low & (-1 << (64 - bits))) >>> 0;
  return `${high.toString(16)}:${(bits === 64 ? low : kept).toString(16)}/${bits}`;
}
