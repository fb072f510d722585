import { formatIp, parseIp } from './address.js';
import type { IpAddress } from './address.js';

/** A block of addresses: the first `length` bits of `ip`; the rest of its bits are 0. */
export interface Prefix {
  readonly ip: IpAddress;
  readonly length: number;
}

/** The bits of word `index` that a prefix of `length` bits fixes. */
export function maskOf(length: number, index: number): number {
  const bits = Math.min(32, Math.max(0, length - 32 * index));
  return bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
}

/** Whether the block holds the address. Families never match each other. */
export function prefixHas(prefix: Prefix, ip: IpAddress): boolean {
  if (prefix.ip.bits !== ip.bits) return false;
  return ip.words.every(
    (word, i) => (word & maskOf(prefix.length, i)) >>> 0 === (prefix.ip.words[i] ?? 0),
  );
}

/** Whether all of `inner` lies in `outer`. */
export function prefixCovers(outer: Prefix, inner: Prefix): boolean {
  return inner.length >= outer.length && prefixHas(outer, inner.ip);
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix.ip)}/${prefix.length}`;
}

/** The block of one address. */
export function hostPrefix(ip: IpAddress): Prefix {
  return { ip, length: ip.bits };
}

/**
 * Returns an address or a CIDR block in its canonical spelling, or a sentence about its error.
 * Rules must use one spelling, because a second reading of a rule would be a hole.
 */
export function parsePrefix(text: string): Prefix | string {
  const slash = text.indexOf('/');
  const address = slash < 0 ? text : text.slice(0, slash);
  if (address.includes('%')) return 'a zone cannot be part of a rule';
  const ip = parseIp(address);
  if (ip === null) return `"${address}" is not an IP address`;
  if (address.includes(':') && ip.bits === 32) {
    return `write an IPv4-mapped address as IPv4: ${formatIp(ip)}`;
  }
  if (slash < 0) return hostPrefix(ip);
  const digits = text.slice(slash + 1);
  const length = /^(?:0|[1-9][0-9]{0,2})$/.test(digits) ? Number(digits) : Number.NaN;
  if (!(length <= ip.bits)) return `the prefix length must be 0 to ${ip.bits}`;
  const words = ip.words.map((word, i) => (word & maskOf(length, i)) >>> 0);
  if (words.some((word, i) => word !== ip.words[i])) {
    return `has bits beyond its prefix; did you mean ${formatIp({ ...ip, words })}/${length}?`;
  }
  return { ip, length };
}
