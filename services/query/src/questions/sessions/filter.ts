import type { SessionFilters } from '@sockscope/schemas/api';
import ipaddr from 'ipaddr.js';
import { sessionConditions } from '../../sql/filters.js';
import type { AddressRange } from '../../sql/filters.js';
import { allOf } from '../../sql/query.js';
import type { Condition } from '../../sql/query.js';

/** First and last address of an address or a CIDR block, in IPv6 form, IPv4 mapped. */
export function addressRangeOf(text: string): AddressRange {
  const [base = '', prefixText] = text.split('/');
  const parsed = ipaddr.parse(base);
  const mapped = parsed.kind() === 'ipv4' ? (parsed as ipaddr.IPv4).toIPv4MappedAddress() : parsed;
  const bits = parsed.kind() === 'ipv4' ? 32 : 128;
  const prefix = 128 - (bits - (prefixText === undefined ? bits : Number(prefixText)));
  const bytes = mapped.toByteArray();
  const end = (fill: 0 | 1) =>
    bytes.map((byte, i) => {
      const fixedBits = Math.min(8, Math.max(0, prefix - i * 8));
      const mask = 0xff >> fixedBits;
      return fill === 1 ? byte | mask : byte & ~mask & 0xff;
    });
  const format = (octets: number[]) => new ipaddr.IPv6(octets).toNormalizedString();
  return { low: format(end(0)), high: format(end(1)) };
}

/** The WHERE clause of a request's filters, apart from the range of starts. */
export function filterOf(filters: SessionFilters): Condition {
  const hosts = filters.dest_host ?? [];
  const exact = hosts.filter((host) => !host.startsWith('*.'));
  const suffixes = hosts.filter((host) => host.startsWith('*.')).map((host) => host.slice(1));
  return allOf(
    sessionConditions({
      ...filters,
      dest_host: filters.dest_host === undefined ? undefined : { exact, suffixes },
      dest_ip: filters.dest_ip?.map(addressRangeOf),
      source_ip: filters.source_ip?.map(addressRangeOf),
      min_duration_ms: toMs(filters.min_duration_secs),
      max_duration_ms: toMs(filters.max_duration_secs),
    }),
  );
}

function toMs(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1_000);
}
