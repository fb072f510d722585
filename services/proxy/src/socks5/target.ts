import { canonicalHost, formatIp, ipOfWords, recordedHost } from '@sockscope/schemas/net';
import { ADDRESS_TYPE } from './protocol.js';

/** A destination as the client asked for it. */
export interface Target {
  /**
   * The requested destination as it is recorded (`recordedHost` of the contract), in printable characters.
   */
  readonly host: string;
  /** Canonical text of a requested address, in any spelling; null for names. */
  readonly ip: string | null;
  /** The name to resolve; null for addresses and for bytes that cannot be a host's name. */
  readonly name: string | null;
  readonly port: number;
}

/** The target at `at` (its ATYP byte) of a whole `ATYP ADDR PORT`. */
export function targetOf(bytes: Buffer, at: number): Target {
  switch (bytes[at]) {
    case ADDRESS_TYPE.ipv4: {
      const ip = `${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}.${bytes[at + 4]}`;
      return { host: ip, ip, name: null, port: bytes.readUInt16BE(at + 5) };
    }
    case ADDRESS_TYPE.ipv6: {
      // An IPv4-mapped address reaches the IPv4 one, so it is that one for rules, records and connecting.
      const words = [1, 5, 9, 13].map((offset) => bytes.readUInt32BE(at + offset));
      const ip = formatIp(ipOfWords(words));
      return { host: ip, ip, name: null, port: bytes.readUInt16BE(at + 17) };
    }
    default: {
      const end = at + 2 + (bytes[at + 1] ?? 0);
      return targetOfName(bytes.subarray(at + 2, end), bytes.readUInt16BE(end));
    }
  }
}

/** Clients send addresses as names too, in every spelling. */
function targetOfName(bytes: Buffer, port: number): Target {
  // A name with other than ASCII in it is an internationalised one that the client did not encode.
  const text = bytes.toString('utf8');
  const canonical = canonicalHost(text);
  switch (canonical.kind) {
    case 'ip': {
      const isUsual = recordedHost(text) === canonical.text;
      const host = isUsual ? canonical.text : printable(bytes);
      return { host, ip: canonical.text, name: null, port };
    }
    case 'name':
      return { host: canonical.text, ip: null, name: canonical.text, port };
    case 'invalid':
      return { host: printable(bytes), ip: null, name: null, port };
  }
}

/** Text of any bytes: bytes that are not printable ASCII become `\xNN`; no bytes at all become `\x`. */
function printable(bytes: Buffer): string {
  if (bytes.length === 0) return '\\x';
  let text = '';
  for (const byte of bytes) {
    text +=
      byte > 0x20 && byte < 0x7f && byte !== 0x5c
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}
