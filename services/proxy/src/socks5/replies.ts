import { parseIp } from '@sockscope/schemas/net';
import {
  ADDRESS_TYPE,
  METHOD,
  PASSWORD_VERSION,
  REPLY,
  REPLY_NAMES,
  SOCKS_VERSION,
} from './protocol.js';
import type { FailureName, ReplyName } from './protocol.js';

/** Buffers here are shared: they are written to sockets, never changed. */
export const METHOD_NONE = Buffer.from([SOCKS_VERSION, METHOD.none]);
export const METHOD_PASSWORD = Buffer.from([SOCKS_VERSION, METHOD.password]);
export const METHOD_UNACCEPTABLE = Buffer.from([SOCKS_VERSION, METHOD.unacceptable]);
export const PASSWORD_ACCEPTED = Buffer.from([PASSWORD_VERSION, 0]);
export const PASSWORD_REFUSED = Buffer.from([PASSWORD_VERSION, 1]);

const FAILURES = new Map<ReplyName, Buffer>(
  REPLY_NAMES.map((name) => [name, encode(name, '0.0.0.0', 0)]),
);

function encode(reply: ReplyName, ip: string, port: number): Buffer {
  return withAddress(SOCKS_VERSION, REPLY[reply], ip, port);
}

/** Two bytes, a zero, and `ATYP ADDR PORT`: the shape of replies and of UDP headers. */
function withAddress(first: number, second: number, ip: string, port: number): Buffer {
  const address = parseIp(ip) ?? { bits: 32, words: [0] };
  const words = address.words.length;
  const bytes = Buffer.allocUnsafe(4 + words * 4 + 2);
  bytes[0] = first;
  bytes[1] = second;
  bytes[2] = 0;
  bytes[3] = words === 1 ? ADDRESS_TYPE.ipv4 : ADDRESS_TYPE.ipv6;
  for (let i = 0; i < words; i += 1) bytes.writeUInt32BE(address.words[i] ?? 0, 4 + i * 4);
  bytes.writeUInt16BE(port, 4 + words * 4);
  return bytes;
}

/** `RSV RSV FRAG ATYP ADDR PORT` of a datagram from that address (RFC 1928, section 7). */
export function udpHeader(ip: string, port: number): Buffer {
  return withAddress(0, 0, ip, port);
}

/** `VER REP RSV ATYP BND.ADDR BND.PORT` (RFC 1928, section 6) for a success, with the address bound. */
export function successReply(ip: string, port: number): Buffer {
  return encode('succeeded', ip, port);
}

/** A full-length reply with 0.0.0.0:0: some clients read ten bytes with any code. */
export function failureReply(reply: FailureName): Buffer {
  return FAILURES.get(reply) ?? encode(reply, '0.0.0.0', 0);
}

/** The reply for an errno of connecting; `general_failure` if RFC 1928 has no better one. */
export function replyOfErrno(code: string): FailureName {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return 'connection_refused';
    case 'ENETUNREACH':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return 'network_unreachable';
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
    case 'ETIMEDOUT':
      return 'host_unreachable';
    case 'EACCES':
    case 'EPERM':
      return 'not_allowed';
    default:
      return 'general_failure';
  }
}
