import { ADDRESS_TYPE, PASSWORD_VERSION, SOCKS_VERSION } from './protocol.js';

/**
 * Finds where messages end, in bytes that may have been cut anywhere. Each function looks at
 * `bytes` from `at` on and returns the offset behind the message, or one of the negative
 * numbers below. A violation is reported with the first byte that shows it, so the verdict
 * depends on the bytes alone and never on how they were cut.
 */
export const INCOMPLETE = -1;
export const BAD_VERSION = -2;
export const BAD_ADDRESS_TYPE = -3;

function endIfWhole(bytes: Uint8Array, end: number): number {
  return bytes.length < end ? INCOMPLETE : end;
}

/** `VER NMETHODS METHODS` (RFC 1928, section 3). */
export function greetingEnd(bytes: Uint8Array, at: number): number {
  const version = bytes[at];
  if (version === undefined) return INCOMPLETE;
  if (version !== SOCKS_VERSION) return BAD_VERSION;
  const methods = bytes[at + 1];
  return methods === undefined ? INCOMPLETE : endIfWhole(bytes, at + 2 + methods);
}

/** `VER ULEN UNAME PLEN PASSWD` (RFC 1929, section 2). */
export function credentialsEnd(bytes: Uint8Array, at: number): number {
  const version = bytes[at];
  if (version === undefined) return INCOMPLETE;
  if (version !== PASSWORD_VERSION) return BAD_VERSION;
  const userLength = bytes[at + 1];
  if (userLength === undefined) return INCOMPLETE;
  const passwordLength = bytes[at + 2 + userLength];
  return passwordLength === undefined
    ? INCOMPLETE
    : endIfWhole(bytes, at + 3 + userLength + passwordLength);
}

/** `VER CMD RSV ATYP DST.ADDR DST.PORT` (RFC 1928, section 4). RSV is not looked at. */
export function requestEnd(bytes: Uint8Array, at: number): number {
  const version = bytes[at];
  if (version === undefined) return INCOMPLETE;
  if (version !== SOCKS_VERSION) return BAD_VERSION;
  return addressEnd(bytes, at + 3);
}

/** `ATYP ADDR PORT`, as in requests, replies and UDP headers (RFC 1928, section 5). */
export function addressEnd(bytes: Uint8Array, at: number): number {
  switch (bytes[at]) {
    case undefined:
      return INCOMPLETE;
    case ADDRESS_TYPE.ipv4:
      return endIfWhole(bytes, at + 1 + 4 + 2);
    case ADDRESS_TYPE.ipv6:
      return endIfWhole(bytes, at + 1 + 16 + 2);
    case ADDRESS_TYPE.name: {
      const length = bytes[at + 1];
      return length === undefined ? INCOMPLETE : endIfWhole(bytes, at + 2 + length + 2);
    }
    default:
      return BAD_ADDRESS_TYPE;
  }
}

/** Whether a whole greeting at `at` offers `method`. */
export function offersMethod(bytes: Uint8Array, at: number, method: number): boolean {
  const end = at + 2 + (bytes[at + 1] ?? 0);
  for (let i = at + 2; i < end; i += 1) if (bytes[i] === method) return true;
  return false;
}

/** User and password of a whole message at `at`: views, valid as long as `bytes` is. */
export function credentialsOf(bytes: Buffer, at: number): { username: Buffer; password: Buffer } {
  const userEnd = at + 2 + (bytes[at + 1] ?? 0);
  return {
    username: bytes.subarray(at + 2, userEnd),
    password: bytes.subarray(userEnd + 1, userEnd + 1 + (bytes[userEnd] ?? 0)),
  };
}
