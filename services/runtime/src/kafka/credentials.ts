/**
 * How a connection to a broker proves who we are. Files of secrets, certificates and keys are read for
 * each new connection, so that a rotation needs no restart: open connections stay, new ones use
 * the new files.
 */
import { readFileSync } from 'node:fs';
import type tls from 'node:tls';
import type { AuthenticationProviderArgs, Mechanism, SASLOptions } from 'kafkajs';
import { secretOf } from '../config/secret-file.js';
import { messageOf } from '../errors.js';
import type { KafkaConfig } from './config.js';
import { KafkaError } from './errors.js';
import { tokenOf } from './oauth.js';

/** Null without TLS. @throws Error when a file cannot be read. */
export function tlsOptionsOf(config: KafkaConfig): tls.ConnectionOptions | null {
  if (!config.tls) return null;
  const passphrase = secretOf(config.tls_key_passphrase, config.tls_key_passphrase_file);
  return {
    ...(config.tls_ca_file === '' ? {} : { ca: readFileSync(config.tls_ca_file, 'utf8') }),
    ...(config.tls_cert_file === ''
      ? {}
      : {
          cert: readFileSync(config.tls_cert_file, 'utf8'),
          key: readFileSync(config.tls_key_file, 'utf8'),
          ...(passphrase === '' ? {} : { passphrase }),
        }),
  };
}

/** Null without SASL. */
export function saslOf(config: KafkaConfig): SASLOptions | Mechanism | null {
  // kafkajs asks for the password with every authentication.
  const credentials = {
    username: config.sasl_username,
    get password() {
      return secretOf(config.sasl_password, config.sasl_password_file);
    },
  };
  switch (config.sasl_mechanism) {
    case 'none':
      return null;
    case 'plain':
      return Object.assign(credentials, { mechanism: 'plain' as const });
    case 'scram-sha-256':
      return Object.assign(credentials, { mechanism: 'scram-sha-256' as const });
    case 'scram-sha-512':
      return Object.assign(credentials, { mechanism: 'scram-sha-512' as const });
    case 'oauthbearer':
      return bearer(async () => (await tokenOf(config)).value, config.oauth_extensions);
    case 'aws-msk-iam':
      return bearer(() => mskToken(config.aws_region), []);
  }
}

const SEPARATOR = '\u0001';

/**
 * OAUTHBEARER by RFC 7628. A broker that rejects a token answers with the reason where an empty answer
 * is expected; kafkajs takes that for success, and the next request fails for no apparent cause.
 */
function bearer(token: () => Promise<string>, extensions: readonly string[]): Mechanism {
  return {
    mechanism: 'OAUTHBEARER',
    authenticationProvider: ({ saslAuthenticate }: AuthenticationProviderArgs) => ({
      async authenticate() {
        const fields = ['n,,', `auth=Bearer ${await token()}`, ...extensions];
        const first = Buffer.from(`${fields.join(SEPARATOR)}${SEPARATOR}${SEPARATOR}`);
        const answer = await exchange(saslAuthenticate, first);
        if (answer === '') return;
        // The broker waits for this before it ends the exchange.
        await exchange(saslAuthenticate, Buffer.from(SEPARATOR)).catch(() => undefined);
        throw new KafkaError('kafka_auth', `the broker rejects the token: ${answer}`, {
          retryable: true,
        });
      },
    }),
  };
}

async function exchange(
  saslAuthenticate: AuthenticationProviderArgs['saslAuthenticate'],
  bytes: Buffer,
): Promise<string> {
  // kafkajs carries both with their length before them.
  const answer = await saslAuthenticate<Buffer>({
    request: { encode: () => withInt32Length(bytes) },
    response: { decode: (raw) => raw.subarray(4), parse: (raw) => raw },
  });
  return answer?.toString('utf8') ?? '';
}

const MSK_PACKAGE = 'aws-msk-iam-sasl-signer-js';

interface MskSigner {
  generateAuthToken(options: { region: string }): Promise<{ token: string }>;
}

/**
 * A token for Amazon MSK, signed with the credentials that AWS's own library finds: environment,
 * instance or container role. That library is optional, because nobody else needs it.
 */
export async function mskToken(
  region: string,
  load: (name: string) => Promise<unknown> = (name) => import(name),
): Promise<string> {
  let signer: MskSigner;
  try {
    signer = (await load(MSK_PACKAGE)) as MskSigner;
  } catch (cause) {
    throw new KafkaError(
      'kafka_auth',
      `KAFKA_SASL_MECHANISM=aws-msk-iam needs the package ${MSK_PACKAGE}: npm install ${MSK_PACKAGE}`,
      { retryable: false, cause },
    );
  }
  try {
    return (await signer.generateAuthToken({ region })).token;
  } catch (cause) {
    throw new KafkaError('kafka_auth', `no token for Amazon MSK: ${messageOf(cause)}`, {
      retryable: true,
      cause,
    });
  }
}

function withInt32Length(bytes: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(bytes.length);
  return Buffer.concat([size, bytes]);
}
