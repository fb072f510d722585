/** IPv4 addresses are stored mapped into IPv6 and shown without the mapping. */
const MAPPED = '::ffff:';

/** Returns SQL that shows an address. @param text an SQL expression: the address as text. */
export function plainAddressSql(text: string): string {
  return `if(${text} LIKE '${MAPPED}%.%', substring(${text}, ${MAPPED.length + 1}), ${text})`;
}

/** Returns an address as it is shown. @param text as ClickHouse writes it. */
export function plainAddress(text: string): string {
  return text.startsWith(MAPPED) && text.includes('.') ? text.slice(MAPPED.length) : text;
}
