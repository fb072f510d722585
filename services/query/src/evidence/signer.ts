import { CompactSign, importJWK } from 'jose';
import type { EvidenceKeys } from './key-file.js';
import { canonicalJson } from './verify-evidence.js';
import type { SignedEvidence } from './verify-evidence.js';

/** A public key with the time in which it signed. */
export interface PublishedKey {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  readonly x: string;
  readonly kid: string;
  readonly alg: 'EdDSA';
  readonly use: 'sig';
  readonly created_at: string;
  readonly retired_at: string | null;
}

export interface EvidenceSigner {
  sign(evidence: object): Promise<SignedEvidence>;
  /** The present key first. */
  readonly keys: readonly PublishedKey[];
}

/** @param keys null: nothing is signed. */
export function createEvidenceSigner(keys: EvidenceKeys | null): EvidenceSigner {
  if (keys === null) {
    return { keys: [], sign: async (evidence) => ({ evidence, jws: null, kid: null }) };
  }
  const { current, retired } = keys;
  const published = [{ ...current, retired_at: null }, ...retired].map(
    ({ kid, created_at, retired_at, jwk: { kty, crv, x } }): PublishedKey => ({
      kty,
      crv,
      x,
      kid,
      alg: 'EdDSA',
      use: 'sig',
      created_at,
      retired_at,
    }),
  );
  return {
    keys: published,
    async sign(evidence) {
      const key = await importJWK(current.jwk, 'EdDSA');
      const whole = await new CompactSign(Buffer.from(canonicalJson(evidence)))
        .setProtectedHeader({ alg: 'EdDSA', kid: current.kid })
        .sign(key);
      const [header = '', , signature = ''] = whole.split('.');
      return { evidence, jws: `${header}..${signature}`, kid: current.kid };
    },
  };
}
