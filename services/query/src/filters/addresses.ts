import ipaddr from 'ipaddr.js';

/** Both ends included, in IPv6 form, IPv4 mapped. */
export interface AddressRange {
  readonly low: string;
  readonly high: string;
  /** The only address of the range as it is shown; null if there are several. */
  readonly only: string | null;
}

/** First and last address of an address or a CIDR block. */
export function addressRangeOf(text: string): AddressRange {
  const [base = '', prefixText] = text.split('/');
  const parsed = ipaddr.parse(base);
  const isV4 = parsed.kind() === 'ipv4';
  const bytes = mapped(parsed).toByteArray();
  const prefix = prefixText === undefined ? 128 : Number(prefixText) + (isV4 ? 96 : 0);
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
  };
}

/** Returns the stored form: IPv4 mapped into IPv6. */
export function mapped(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv6 {
  return address.kind() === 'ipv4'
    ? (address as ipaddr.IPv4).toIPv4MappedAddress()
    : (address as ipaddr.IPv6);
}

function shownAddress(address: ipaddr.IPv6): string {
  return address.isIPv4MappedAddress()
    ? address.toIPv4Address().toString()
    : address.toRFC5952String();
}
