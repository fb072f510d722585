import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** Lets a leaked key be recognised by scanners, and distinguished from a token here. */
export const KEY_PREFIX = 'ssk_';

const ID_BYTES = 6;
const SECRET_BYTES = 32;
const KEY = /^ssk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;

/** A new key. It is shown once; only its hash is kept. */
export function generateKey(): { readonly key: string; readonly keyId: string } {
  const keyId = randomBytes(ID_BYTES).toString('hex');
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { key: `${KEY_PREFIX}${keyId}_${secret}`, keyId };
}

/** The public part of a key; null if the text is not one. */
export function keyIdOf(key: string): string | null {
  return KEY.exec(key)?.[1] ?? null;
}

/** SHA-256 suffices for 256 random bits: there is nothing to guess. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/** Compares in constant time. */
export function isKeyOf(key: string, hash: string): boolean {
  const actual = Buffer.from(hashKey(key), 'hex');
  const expected = Buffer.from(hash, 'hex');
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}
