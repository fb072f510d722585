import { formatIp, ipOfWords, parseIp } from '@sockscope/schemas/net';
import { INCOMPLETE } from '../socks5/frames.js';

/** Not a PROXY protocol header; the sender is not the load balancer that was promised. */
export const BAD_HEADER = -2;

/** The 12 bytes that a binary header begins with (version 2 of HAProxy's specification). */
const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const TEXT_START = Buffer.from('PROXY ');
/** The longest text header, CRLF included: the specification's own figure. */
const MAX_TEXT_BYTES = 107;
/** Addresses are 12 or 36 bytes; extensions follow, which nobody makes this long. */
const MAX_BINARY_BYTES = 16 + 4_096;

export interface HeaderSource {
  readonly ip: string;
  readonly port: number;
}

/**
 * The end of the PROXY protocol header at the start of `bytes`, version 1 or 2, or `INCOMPLETE`,
 * or `BAD_HEADER` with the first byte that shows it.
 */
export function proxyHeaderEnd(bytes: Buffer): number {
  if (startsAlike(bytes, SIGNATURE)) return binaryHeaderEnd(bytes);
  if (!startsAlike(bytes, TEXT_START)) return BAD_HEADER;
  const newline = bytes.indexOf('\r\n');
  if (newline === -1) return bytes.length < MAX_TEXT_BYTES ? INCOMPLETE : BAD_HEADER;
  return newline + 2 <= MAX_TEXT_BYTES && isTextHeader(bytes, newline) ? newline + 2 : BAD_HEADER;
}

function startsAlike(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

function binaryHeaderEnd(bytes: Buffer): number {
  const command = bytes[12];
  if (command !== undefined && command !== 0x20 && command !== 0x21) return BAD_HEADER;
  if (bytes.length < 16) return INCOMPLETE;
  const end = 16 + bytes.readUInt16BE(14);
  if (end > MAX_BINARY_BYTES) return BAD_HEADER;
  const addressBytes = { 0x11: 12, 0x21: 36 }[bytes[13] ?? 0] ?? 0;
  if (command === 0x21 && end - 16 < addressBytes) return BAD_HEADER;
  return bytes.length < end ? INCOMPLETE : end;
}

function isTextHeader(bytes: Buffer, end: number): boolean {
  const [, family] = bytes.toString('latin1', 0, end).split(' ');
  return family === 'UNKNOWN' || textSource(bytes, end) !== null;
}

function textSource(bytes: Buffer, end: number): HeaderSource | null {
  const parts = bytes.toString('latin1', 0, end).split(' ');
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = ''] = parts;
  if (parts.length !== 6 || (family !== 'TCP4' && family !== 'TCP6')) return null;
  const ip = parseIp(source);
  if (ip === null || source.includes(':') !== (family === 'TCP6') || source.includes('%')) {
    return null;
  }
  if (parseIp(destination) === null) return null;
  if (!isPort(sourcePort) || !isPort(destinationPort)) return null;
  return { ip: formatIp(ip), port: Number(sourcePort) };
}

function isPort(text: string): boolean {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

/**
 * The client that a whole header at the start of `bytes` names; null if it names none
 * (`UNKNOWN`, `LOCAL`, a family other than TCP over IP): the connection's own address counts then.
 */
export function proxyHeaderSource(bytes: Buffer): HeaderSource | null {
  if (!startsAlike(bytes, SIGNATURE)) return textSource(bytes, bytes.indexOf('\r\n'));
  if (bytes[12] === 0x20) return null;
  switch (bytes[13]) {
    case 0x11:
      return {
        ip: formatIp({ bits: 32, words: [bytes.readUInt32BE(16)] }),
        port: bytes.readUInt16BE(24),
      };
    case 0x21: {
      const words = [16, 20, 24, 28].map((at) => bytes.readUInt32BE(at));
      return { ip: formatIp(ipOfWords(words)), port: bytes.readUInt16BE(48) };
    }
    default:
      return null;
  }
}
