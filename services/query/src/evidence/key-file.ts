import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { SockscopeError } from '@sockscope/runtime';
import { toTimestamp } from '@sockscope/schemas';
import { calculateJwkThumbprint } from 'jose';
import { z } from 'zod';

const base64url = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
const publicJwk = { kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: base64url };

const keyFile = z.strictObject({
  current: z.strictObject({
    kid: z.string(),
    created_at: z.string(),
    jwk: z.strictObject({ ...publicJwk, d: base64url }),
  }),
  retired: z.array(
    z.strictObject({
      kid: z.string(),
      created_at: z.string(),
      retired_at: z.string(),
      jwk: z.strictObject(publicJwk),
    }),
  ),
});

/** The key that signs evidence, and the public parts of its predecessors. */
export type EvidenceKeys = z.infer<typeof keyFile>;

function refuse(message: string, cause?: unknown): never {
  throw new SockscopeError('evidence_key', message, { cause });
}

/** @throws SockscopeError evidence_key */
export function readEvidenceKeys(path: string): EvidenceKeys {
  try {
    return keyFile.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    return refuse(
      `Cannot read the evidence key in ${path}. Make one with \`evidence-key create --file ${path}\`, or unset QUERY_EVIDENCE_KEY_FILE; evidence is then not signed.`,
      cause,
    );
  }
}

async function newKey(nowMs: number): Promise<EvidenceKeys['current']> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const { x, d } = privateKey.export({ format: 'jwk' });
  const jwk = keyFile.shape.current.shape.jwk.parse({ kty: 'OKP', crv: 'Ed25519', x, d });
  return { kid: await calculateJwkThumbprint(jwk), created_at: toTimestamp(nowMs), jwk };
}

const OWNER_ONLY = 0o600;
const textOf = (keys: EvidenceKeys) => `${JSON.stringify(keys, null, 2)}\n`;

/** Makes a key in a new file. @throws SockscopeError evidence_key if the file exists. */
export async function createEvidenceKey(path: string, nowMs: number): Promise<string> {
  const current = await newKey(nowMs);
  try {
    writeFileSync(path, textOf({ current, retired: [] }), { mode: OWNER_ONLY, flag: 'wx' });
  } catch (cause) {
    refuse(`Cannot make ${path}. If it exists, \`evidence-key rotate\` replaces its key.`, cause);
  }
  return current.kid;
}

/** Makes a new key and keeps the public part of the former one. */
export async function rotateEvidenceKey(path: string, nowMs: number): Promise<string> {
  const { current, retired } = readEvidenceKeys(path);
  const { kid, created_at, jwk } = current;
  const former = {
    kid,
    created_at,
    retired_at: toTimestamp(nowMs),
    jwk: { kty: jwk.kty, crv: jwk.crv, x: jwk.x },
  };
  const next = await newKey(nowMs);
  const beside = `${path}.new`;
  writeFileSync(beside, textOf({ current: next, retired: [former, ...retired] }), {
    mode: OWNER_ONLY,
  });
  renameSync(beside, path);
  return next.kid;
}
