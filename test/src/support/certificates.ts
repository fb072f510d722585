import { generateKeyPairSync } from 'node:crypto';
import forge from 'node-forge';

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  /** The same key, encrypted with `PASSPHRASE`. */
  readonly encryptedKey: string;
}

export const PASSPHRASE = 'a passphrase';
const DAY_MS = 86_400_000;
let serial = 1;

/** A certificate for `name`, signed by an authority, or an authority itself when none is given. */
export function createCertificate(name: string, authority?: Certificate): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.publicKeyFromPem(
    publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  );
  serial += 1;
  certificate.serialNumber = `4${serial.toString(16).padStart(7, '0')}`;
  certificate.validity.notBefore = new Date(Date.now() - DAY_MS);
  certificate.validity.notAfter = new Date(Date.now() + DAY_MS);
  const subject = [{ name: 'commonName', value: name }];
  certificate.setSubject(subject);
  certificate.setIssuer(
    authority === undefined
      ? subject
      : forge.pki.certificateFromPem(authority.cert).subject.attributes,
  );
  certificate.setExtensions([
    { name: 'basicConstraints', cA: authority === undefined },
    {
      name: 'subjectAltName',
      altNames: [
        { type: 2, value: 'localhost' },
        { type: 7, ip: '127.0.0.1' },
      ],
    },
  ]);
  certificate.sign(forge.pki.privateKeyFromPem(authority?.key ?? key), forge.md.sha256.create());
  return {
    cert: forge.pki.certificateToPem(certificate),
    key,
    encryptedKey: privateKey
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: PASSPHRASE })
      .toString(),
  };
}
