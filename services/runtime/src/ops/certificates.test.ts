import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import forge from 'node-forge';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { measureCertificates } from './certificates.js';

const SOON = Date.UTC(2030, 0, 1);
const LATER = Date.UTC(2040, 0, 1);
let keys: forge.pki.rsa.KeyPair;
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sockscope-certificates-'));
  keys = forge.pki.rsa.generateKeyPair(1024);
});
afterAll(() => {
  rmSync(dir, { recursive: true });
});

function certificateUntil(ms: number): string {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = keys.publicKey;
  certificate.serialNumber = '01';
  certificate.validity.notBefore = new Date(Date.UTC(2020, 0, 1));
  certificate.validity.notAfter = new Date(ms);
  certificate.sign(keys.privateKey, forge.md.sha256.create());
  return forge.pki.certificateToPem(certificate);
}

function fileOf(name: string, ...ends: number[]): string {
  const path = join(dir, name);
  writeFileSync(path, ends.map(certificateUntil).join(''));
  return path;
}

async function expiries(presented: string, trusted: string): Promise<Record<string, number>> {
  const registry = new Registry();
  measureCertificates(registry, { presented: { CERT: presented }, trusted: { CA: trusted } });
  const found: Record<string, number> = {};
  const text = await registry.metrics();
  for (const [, setting = '', value] of text.matchAll(/\{setting="(\w+)"\} (\d+)/g)) {
    found[setting] = Number(value);
  }
  return found;
}

describe('the expiry of certificates', () => {
  test('is the expiry of the certificate that a service presents, and not of its chain', async () => {
    const chain = fileOf('chain.pem', SOON, LATER);
    expect(await expiries(chain, '')).toEqual({ CERT: SOON / 1_000 });
  });

  test('is the expiry of the last authority to expire, because a rotation keeps the old one', async () => {
    const bundle = fileOf('bundle.pem', SOON, LATER);
    expect(await expiries('', bundle)).toEqual({ CA: LATER / 1_000 });
  });

  test('is past if a file is missing or holds no certificate', async () => {
    const empty = join(dir, 'empty.pem');
    writeFileSync(empty, 'no certificate');
    expect(await expiries(join(dir, 'missing.pem'), empty)).toEqual({ CERT: 0, CA: 0 });
  });

  test('has no metric without such files', async () => {
    expect(await expiries('', '')).toEqual({});
  });
});
