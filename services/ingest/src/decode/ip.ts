/** An address as IPv6 in four big-endian words. */
export type Ipv6Words = [number, number, number, number];

/**
 * The words of an address that zod has accepted as IPv4 (mapped then) or IPv6, in any spelling:
 * upper case, left-out zeros, IPv4 at the end.
 */
export function parseIpv6Words(text: string): Ipv6Words {
  if (!text.includes(':')) {
    const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number);
    return [0, 0, 0xffff, ((a << 24) | (b << 16) | (c << 8) | d) >>> 0];
  }
  // The URL parser is what zod checks with; its spelling has hexadecimal groups and `::` alone.
  const plain = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [head = '', tail] = plain.split('::');
  const groupsOf = (part: string) =>
    part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16));
  const before = groupsOf(head);
  const after = groupsOf(tail ?? '');
  const groups = [
    ...before,
    ...Array.from({ length: 8 - before.length - after.length }, () => 0),
    ...after,
  ];
  const word = (i: number) => (((groups[i] ?? 0) << 16) | (groups[i + 1] ?? 0)) >>> 0;
  return [word(0), word(2), word(4), word(6)];
}
