import { domainToASCII } from 'node:url';
import { formatIp, parseIp, parseIpv4Loose, parseIpv4Strict } from './address.js';
import type { IpAddress } from './address.js';

/** A destination as a client names it, in the one spelling that rules and the resolver see. */
export type CanonicalHost =
  | { readonly kind: 'ip'; readonly text: string; readonly ip: IpAddress }
  /** Lower case, punycode, without the trailing dot. */
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'invalid'; readonly text: null; readonly problem: string };

/** RFC 1035: 255 bytes on the wire are 253 characters of text. */
const NAME_MAX_CHARS = 253;
const LABEL_MAX_CHARS = 63;
/** Longer texts are not looked at; a SOCKS name has at most 255 bytes. */
const HOST_MAX_CHARS = 1024;
/** A name that resolvers take for an IPv4 address: its last part begins like a number. */
function looksLikeIpv4(host: string): boolean {
  const last = host.slice(host.lastIndexOf('.') + 1);
  return /^(?:[0-9]+|0x[0-9a-f]*)$/i.test(last);
}

function invalid(problem: string): CanonicalHost {
  return { kind: 'invalid', text: null, problem };
}

function ipHost(ip: IpAddress): CanonicalHost {
  return { kind: 'ip', text: formatIp(ip), ip };
}

/** A name in lower case without one trailing dot, or the problem with it. */
function nameHost(text: string): CanonicalHost {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  if (name.length > NAME_MAX_CHARS) return invalid('the name is too long');
  for (const label of name.split('.')) {
    if (label === '') return invalid('the name has an empty part');
    if (label.length > LABEL_MAX_CHARS) return invalid('a part of the name is too long');
    // Underscores are in use (_service._tcp); everything else beyond RFC 1123 is a trick.
    if (!/^[a-z0-9_-]+$/.test(label)) return invalid('the name has a forbidden character');
  }
  return { kind: 'name', text: name };
}

/**
 * Brings a destination into the one spelling that rules, resolver and connection use, so that
 * no two of them can understand it differently: lower case, no trailing dot, punycode by UTS 46,
 * brackets and zones dropped, and every odd spelling of an IPv4 address read as the address that
 * a resolver would take it for.
 */
export function canonicalHost(host: string): CanonicalHost {
  if (host.length === 0) return invalid('the name is empty');
  if (host.length > HOST_MAX_CHARS) return invalid('the name is too long');
  const plain = parseIpv4Strict(host);
  if (plain !== null) return { kind: 'ip', text: host, ip: plain };
  const unbracketed = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  if (unbracketed.includes(':')) {
    const ip = parseIp(unbracketed);
    return ip === null ? invalid('not an address') : ipHost(ip);
  }
  let ascii = host.toLowerCase();
  // oxlint-disable-next-line no-control-regex
  if (!/^[\x00-\x7f]*$/.test(host)) {
    // UTS 46 may turn letters into anything, a dot or a digit included: so this comes first.
    // Percent signs are for URLs; domainToASCII would decode them, resolvers do not.
    ascii = host.includes('%') ? '' : domainToASCII(host);
    if (ascii === '') return invalid('the name is not valid (IDNA)');
  }
  const undotted = ascii.endsWith('.') ? ascii.slice(0, -1) : ascii;
  if (looksLikeIpv4(undotted)) {
    const ip = parseIpv4Loose(undotted);
    return ip === null ? invalid('not an IPv4 address') : ipHost(ip);
  }
  return nameHost(ascii);
}

/**
 * A host as events and tables carry it (`dest_host`): a name in lower case and punycode without a
 * dot at its end, an address in canonical text. A text that is neither, or an address in a spelling that
 * only inet_aton(3) reads, stays as it is: it shows the client's input.
 */
export function recordedHost(text: string): string {
  const host = canonicalHost(text);
  if (host.kind === 'name') return host.text;
  if (host.kind === 'invalid') return text;
  const unbracketed = text.startsWith('[') ? text.slice(1, -1) : text;
  return parseIp(unbracketed) === null ? text : host.text;
}
