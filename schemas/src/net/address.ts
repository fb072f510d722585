/**
 * An IP address as the bits that routers see: one unsigned 32-bit word for IPv4, four for IPv6.
 * IPv4-mapped IPv6 addresses are always IPv4 here, because the kernel connects to that.
 */
export interface IpAddress {
  readonly bits: 32 | 128;
  readonly words: readonly number[];
}

const MAPPED_MARK = 0xffff;

function ipv4(word: number): IpAddress {
  return { bits: 32, words: [word >>> 0] };
}

/**
 * One part of an IPv4 address as inet_aton(3) reads it: decimal, 0octal or 0xhex; null if it is
 * invalid.
 */
function ipv4Part(text: string): number | null {
  if (/^0x[0-9a-f]*$/i.test(text))
    return text.length === 2 ? 0 : Number.parseInt(text.slice(2), 16);
  if (/^0[0-7]*$/.test(text)) return Number.parseInt(text, 8);
  return /^[1-9][0-9]*$/.test(text) ? Number.parseInt(text, 10) : null;
}

/**
 * IPv4 in every spelling that inet_aton(3) accepts: `127.1`, `2130706433`, `0x7f000001`,
 * `0177.0.0.1`. Null if it is invalid.
 */
export function parseIpv4Loose(text: string): IpAddress | null {
  const parts = text.split('.');
  if (parts.length > 4) return null;
  let value = 0;
  for (const [index, part] of parts.entries()) {
    const number = ipv4Part(part);
    if (number === null) return null;
    const isLast = index === parts.length - 1;
    // The last part fills all remaining bytes.
    if (number >= (isLast ? 256 ** (5 - parts.length) : 256)) return null;
    value += isLast ? number : number * 256 ** (3 - index);
  }
  return ipv4(value);
}

/** IPv4 as four decimal numbers without leading zeros; null for anything else. */
export function parseIpv4Strict(text: string): IpAddress | null {
  let value = 0;
  let parts = 0;
  let part = -1;
  // Hand-written instead of a regular expression, because every decision calls it.
  for (let i = 0; i <= text.length; i += 1) {
    const code = i === text.length ? 46 : text.charCodeAt(i);
    if (code === 46) {
      if (part < 0 || parts === 4) return null;
      value = value * 256 + part;
      parts += 1;
      part = -1;
    } else if (code >= 48 && code <= 57) {
      if (part === 0) return null;
      part = (part < 0 ? 0 : part * 10) + code - 48;
      if (part > 255) return null;
    } else {
      return null;
    }
  }
  return parts === 4 ? ipv4(value) : null;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

const COLON = 58;
const DOT = 46;

/**
 * The eight 16-bit groups of an IPv6 address without zone and brackets (RFC 4291, section 2.2);
 * null for any other text. Hand-written for speed, as above.
 */
function ipv6Groups(text: string): number[] | null {
  const groups: number[] = [];
  /** The position of `::` among the groups; -1 if there is none. */
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return null;
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    const start = at;
    let value = 0;
    let digit = hexDigit(text.charCodeAt(at));
    while (digit >= 0) {
      value = value * 16 + digit;
      at += 1;
      digit = at < text.length ? hexDigit(text.charCodeAt(at)) : -1;
    }
    if (at === start || groups.length === 8) return null;
    const code = at < text.length ? text.charCodeAt(at) : 0;
    if (code === DOT) {
      // The last four bytes may be written as IPv4.
      const word = parseIpv4Strict(text.slice(start))?.words[0];
      if (word === undefined) return null;
      groups.push(word >>> 16, word & 0xffff);
      break;
    }
    if (at - start > 4) return null;
    groups.push(value);
    if (at === text.length) break;
    if (code !== COLON) return null;
    at += 1;
    if (text.charCodeAt(at) === COLON) {
      if (gap >= 0) return null;
      gap = groups.length;
      at += 1;
    } else if (at === text.length) {
      return null;
    }
  }
  if (gap < 0) return groups.length === 8 ? groups : null;
  if (groups.length > 7) return null;
  const zeros = Array<number>(8 - groups.length).fill(0);
  return [...groups.slice(0, gap), ...zeros, ...groups.slice(gap)];
}

/** IPv6 without zone and brackets. An IPv4-mapped one comes back as IPv4. */
function parseIpv6(text: string): IpAddress | null {
  const groups = ipv6Groups(text);
  if (groups === null) return null;
  const [g0 = 0, g1 = 0, g2 = 0, g3 = 0, g4 = 0, g5 = 0, g6 = 0, g7 = 0] = groups;
  const words = [
    ((g0 << 16) | g1) >>> 0,
    ((g2 << 16) | g3) >>> 0,
    ((g4 << 16) | g5) >>> 0,
    ((g6 << 16) | g7) >>> 0,
  ];
  return ipOfWords(words);
}

/** The address of four 32-bit words of IPv6; an IPv4-mapped one is IPv4. */
export function ipOfWords(words: readonly number[]): IpAddress {
  if (words[0] === 0 && words[1] === 0 && words[2] === MAPPED_MARK) return ipv4(words[3] ?? 0);
  return { bits: 128, words };
}

/**
 * An address in its usual spelling, as resolvers and sockets give it. A zone (`fe80::1%eth0`) is
 * dropped; an IPv4-mapped address comes back as IPv4. Null if it is invalid.
 */
export function parseIp(text: string): IpAddress | null {
  if (!text.includes(':')) return parseIpv4Strict(text);
  const zone = text.indexOf('%');
  return parseIpv6(zone < 0 ? text : text.slice(0, zone));
}

/**
 * Returns the words as IPv6 with IPv4 mapped, as tables hold them; null if the text is not an
 * address.
 */
export function parseIpv6Words(text: string): readonly [number, number, number, number] | null {
  const ip = parseIp(text);
  if (ip === null) return null;
  const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = ip.words;
  return ip.bits === 32 ? [0, 0, MAPPED_MARK, w0] : [w0, w1, w2, w3];
}

export function sameIp(a: IpAddress, b: IpAddress): boolean {
  return a.bits === b.bits && a.words.every((word, i) => word === b.words[i]);
}

function ipv4Text(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;
}

/** Returns the canonical text of an address; null if it is not an address. */
export function canonicalIp(text: string): string | null {
  const ip = parseIp(text);
  return ip === null ? null : formatIp(ip);
}

/** The canonical text: dotted decimal, or RFC 5952. */
export function formatIp(ip: IpAddress): string {
  if (ip.bits === 32) return ipv4Text(ip.words[0] ?? 0);
  const groups = ip.words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let start = 0;
  let length = 0;
  for (let i = 0; i < 8;) {
    let end = i;
    while (end < 8 && groups[end] === 0) end += 1;
    if (end - i > length) [start, length] = [i, end - i];
    i = Math.max(end, i + 1);
  }
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/**
 * The IPv4 addresses that hide in an IPv6 address: a gateway on the way may unwrap them.
 * IPv4-compatible (::/96), IPv4-translated (::ffff:0:0/96 of RFC 2765), NAT64 (RFC 6052, its
 * well-known prefix and RFC 8215's local one with a /96), 6to4 (RFC 3056), Teredo's server and
 * client (RFC 4380), ISATAP (RFC 5214).
 */
export function embeddedIpv4(ip: IpAddress): IpAddress[] {
  if (ip.bits === 32) return [];
  const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = ip.words;
  const found: number[] = [];
  if (w0 === 0 && w1 === 0 && w2 === 0 && w3 > 1) found.push(w3);
  if (w0 === 0 && w1 === 0 && w2 === 0xffff_0000) found.push(w3);
  if (w0 === 0x0064_ff9b && ((w1 === 0 && w2 === 0) || w1 >>> 16 === 1)) found.push(w3);
  if (w0 >>> 16 === 0x2002) found.push(((w0 << 16) | (w1 >>> 16)) >>> 0);
  if (w0 === 0x2001_0000) found.push(w1, ~w3 >>> 0);
  if (w2 === 0x0000_5efe || w2 === 0x0200_5efe) found.push(w3);
  return found.map(ipv4);
}
