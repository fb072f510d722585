import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import ipaddr from 'ipaddr.js';
import { ADDRESS_TYPE } from './protocol.js';

/** A destination as the client asked for it. */
export interface Target {
  /** Printable text of what was asked: a name or an address. */
  readonly host: string;
  /** Canonical text where an address was asked for, in whatever form; null for names. */
  readonly ip: string | null;
  /** ASCII name to resolve; null for addresses and for bytes that cannot be a host's name. */
  readonly name: string | null;
  readonly port: number;
}

const LABEL = /^(?!-)[a-z0-9_-]{1,63}$/i;
const MAX_NAME_CHARS = 253;

/** The target at `at` (its ATYP byte) of a whole `ATYP ADDR PORT`. */
export function targetOf(bytes: Buffer, at: number): Target {
  switch (bytes[at]) {
    case ADDRESS_TYPE.ipv4: {
      const ip = `${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}.${bytes[at + 4]}`;
      return { host: ip, ip, name: null, port: bytes.readUInt16BE(at + 5) };
    }
    case ADDRESS_TYPE.ipv6: {
      const address = ipaddr.fromByteArray([...bytes.subarray(at + 1, at + 17)]);
      const port = bytes.readUInt16BE(at + 17);
      return { host: textOf(address), ip: canonical(address), name: null, port };
    }
    default: {
      const end = at + 2 + (bytes[at + 1] ?? 0);
      return targetOfName(bytes.subarray(at + 2, end), bytes.readUInt16BE(end));
    }
  }
}

/**
 * Clients send addresses as names too: dotted IPv4 and plain IPv6 text are taken as addresses.
 * The other spellings that libc's resolver would turn into an address (`127.1`, `0x7f000001`,
 * `2130706433`, a zone after `%`) are neither: no top-level domain is a number, so nothing is
 * lost by refusing them, and no rule can be walked around with them.
 */
function targetOfName(bytes: Buffer, port: number): Target {
  const text = bytes.toString('latin1');
  if (isIPv4(text)) return { host: text, ip: text, name: null, port };
  if (isIPv6(text) && !text.includes('%')) {
    return { host: text.toLowerCase(), ip: canonical(ipaddr.parse(text)), name: null, port };
  }
  return { host: printable(bytes, text), ip: null, name: hostName(bytes, text), port };
}

function hostName(bytes: Buffer, latin1: string): string | null {
  // A name in raw UTF-8 is an internationalised one that the client did not encode.
  const isAscii = latin1.length > 0 && /^[\x21-\x7e]+$/.test(latin1);
  const ascii = isAscii ? latin1 : domainToASCII(bytes.toString('utf8'));
  const name = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  if (name.length === 0 || name.length > MAX_NAME_CHARS) return null;
  const labels = name.split('.');
  if (!labels.every((label) => LABEL.test(label))) return null;
  // With its dot: that keeps a final name from being searched for in other domains.
  return /^(?:\d+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? '') ? null : ascii;
}

/** Text of any bytes: what is not printable ASCII becomes `\xNN`, so that it can be shown and compared. */
function printable(bytes: Buffer, latin1: string): string {
  if (latin1.length === 0) return '\\x';
  if (/^[\x21-\x5b\x5d-\x7e]+$/.test(latin1)) return latin1;
  let text = '';
  for (const byte of bytes) {
    text +=
      byte > 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}

function textOf(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

/** An IPv4-mapped IPv6 address reaches the IPv4 one, so it is that one for rules, records and connecting. */
function canonical(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()
    ? address.toIPv4Address().toString()
    : textOf(address);
}

/** Canonical text of an address that the operating system or a resolver gave; null where it is none. */
export function canonicalIp(text: string): string | null {
  if (isIPv4(text)) return text;
  const zone = text.indexOf('%');
  const bare = zone === -1 ? text : text.slice(0, zone);
  return isIPv6(bare) ? canonical(ipaddr.parse(bare)) : null;
}
