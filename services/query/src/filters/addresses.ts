import ipaddr from 'ipaddr.js';

/** Both ends included, in IPv6 form, IPv4 mapped. */
export interface AddressRange {
  readonly low: string;
  readonly high: string;
  /** The only address of the range as it is shown; null if there are several. */
  readonly only: string | null;
  /** Whether all of IPv4 lies between, though the block is one of IPv6. */
  readonly spansIpv4: boolean;
}

/** A block of mapped addresses has at least as many bits. */
export const MAPPED_BITS = 96;
const FIRST_IPV4 = ipaddr.IPv6.parse('::ffff:0:0');

/** Reads an address. The library would read `::192.0.2.1`, which is an address of IPv6, as one of IPv4. */
export function parsedAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 {
  return ipaddr.parse(text.replace(/^::(?=\d+\.)/, '::0:'));
}

/** First and last address of an address or a CIDR block. */
export function addressRangeOf(text: string): AddressRange {
  const [base = '', prefixText] = text.split('/');
  const parsed = parsedAddress(base);
  const isV4 = parsed.kind() === 'ipv4';
  const bytes = mapped(parsed).toByteArray();
  const prefix = prefixText === undefined ? 128 : Number(prefixText) + (isV4 ? MAPPED_BITS : 0);
  const end = (fill: 0 | 1) =>
    new ipaddr.IPv6(
      bytes.map((byte, i) => {
        const mask = 0xff >> Math.min(8, Math.max(0, prefix - i * 8));
        return fill === 1 ? byte | mask : byte & ~mask & 0xff;
      }),
    );
  const [low, high] = [end(0), end(1)];
  return {
    low: low.toNormalizedString(),
    high: high.toNormalizedString(),
    only: prefix < 128 ? null : shownAddress(low),
    spansIpv4: prefix < MAPPED_BITS && FIRST_IPV4.match(mapped(parsed), prefix),
  };
}

/** Returns the stored form: IPv4 mapped into IPv6. */
export function mapped(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv6 {
  return address.kind() === 'ipv4'
    ? (address as ipaddr.IPv4).toIPv4MappedAddress()
    : (address as ipaddr.IPv6);
}

/** Returns an address as ClickHouse writes it. It writes the last 32 bits after six zeros as IPv4. */
function shownAddress(address: ipaddr.IPv6): string {
  if (address.isIPv4MappedAddress()) return address.toIPv4Address().toString();
  const [next = 0] = address.parts.slice(6);
  const isShort = next !== 0 && address.parts.slice(0, 6).every((part) => part === 0);
  return isShort
    ? `::${new ipaddr.IPv4(address.toByteArray().slice(12)).toString()}`
    : address.toRFC5952String();
}
