import { DEFAULT_TOPIC } from '@sockscope/schemas';
import { z } from 'zod';
import { durationMs, flag, textList } from '../config/values.js';
import { CODECS, HAS_ZSTD } from './codecs.js';

export const SASL_MECHANISMS = [
  'none',
  'plain',
  'scram-sha-256',
  'scram-sha-512',
  'oauthbearer',
  'aws-msk-iam',
] as const;

/** The names of topics that Kafka allows. */
const TOPIC = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;
/** A name or an IPv4 address, or an IPv6 address in brackets, and a port. */
const BROKER = /^(?:[^\s:[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/;
/** RFC 7628, section 3.1. */
const SASL_EXTENSION = /^[A-Za-z]+=[\x20-\x7e\t]*$/;

const FILE_AGAIN = 'read again for each new connection';

/** How a service reaches Kafka: plain data, so that it can be handed to another thread. */
export const kafkaConfig = z
  .object({
    brokers: textList({ min: 1, max: 100 })
      .refine(
        (list) => list.every((broker) => BROKER.test(broker)),
        'must be host:port or [address]:port, comma separated',
      )
      .default(['127.0.0.1:9092'])
      .meta({
        env: 'KAFKA_BROKERS',
        description:
          'bootstrap brokers, host:port or [IPv6 address]:port, separated by commas; every client tries all of them',
      }),
    client_id: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,200}$/, 'must be letters, digits, dots, dashes and underscores')
      .default('sockscope')
      .meta({
        env: 'KAFKA_CLIENT_ID',
        description: 'first part of the client ids that brokers see, for quotas and logs',
      }),
    topic: z
      .string()
      .regex(TOPIC, 'must be a name that Kafka allows')
      // Room for the suffix of the dead-letter topic.
      .max(245)
      .default(DEFAULT_TOPIC)
      .meta({ env: 'KAFKA_TOPIC', description: 'topic of the session events' }),
    compression: z
      .enum(['auto', ...CODECS])
      .refine((codec) => codec !== 'zstd' || HAS_ZSTD, {
        error: 'zstd needs Node 22.15 or later; use auto or lz4',
      })
      .default('auto')
      .meta({
        env: 'KAFKA_COMPRESSION',
        description: `compression of events: ${CODECS.join(', ')}; auto: the topic's compression.type if visible (DescribeConfigs), else zstd from Node 22.15, else lz4; if refused, the next best`,
      }),
    client_rack: z.string().max(249).default('').meta({
      env: 'KAFKA_CLIENT_RACK',
      description: 'rack or zone of this client; ingest then reads from replicas in the same one',
    }),
    tls: flag().default(false).meta({ env: 'KAFKA_TLS', description: 'connect with TLS' }),
    tls_ca_file: z
      .string()
      .default('')
      .meta({
        env: 'KAFKA_TLS_CA_FILE',
        description: `PEM file of the authority that signed the brokers; empty: the system ones; ${FILE_AGAIN}`,
      }),
    tls_cert_file: z
      .string()
      .default('')
      .meta({
        env: 'KAFKA_TLS_CERT_FILE',
        description: `PEM file of the client certificate, for mutual TLS; ${FILE_AGAIN}`,
      }),
    tls_key_file: z
      .string()
      .default('')
      .meta({
        env: 'KAFKA_TLS_KEY_FILE',
        description: `PEM file of the key of that certificate; ${FILE_AGAIN}`,
      }),
    tls_key_passphrase: z.string().default('').meta({
      env: 'KAFKA_TLS_KEY_PASSPHRASE',
      description: 'passphrase of that key, when it is encrypted',
      secret: true,
    }),
    tls_key_passphrase_file: z
      .string()
      .default('')
      .meta({
        env: 'KAFKA_TLS_KEY_PASSPHRASE_FILE',
        description: `file with that passphrase; ${FILE_AGAIN}`,
      }),
    sasl_mechanism: z
      .enum(SASL_MECHANISMS)
      .default('none')
      .meta({
        env: 'KAFKA_SASL_MECHANISM',
        description: `how to authenticate: ${SASL_MECHANISMS.join(', ')}`,
      }),
    sasl_username: z
      .string()
      .default('')
      .meta({ env: 'KAFKA_SASL_USERNAME', description: 'SASL user' }),
    sasl_password: z
      .string()
      .default('')
      .meta({ env: 'KAFKA_SASL_PASSWORD', description: 'password of that user', secret: true }),
    sasl_password_file: z
      .string()
      .default('')
      .meta({
        env: 'KAFKA_SASL_PASSWORD_FILE',
        description: `file with that password; ${FILE_AGAIN}`,
      }),
    oauth_token_url: z
      .union([z.literal(''), z.url({ protocol: /^https?$/ })])
      .default('')
      .meta({
        env: 'KAFKA_OAUTH_TOKEN_URL',
        description: 'URL from which oauthbearer fetches tokens, by client credentials',
      }),
    oauth_client_id: z.string().default('').meta({
      env: 'KAFKA_OAUTH_CLIENT_ID',
      description: 'client id with which oauthbearer fetches tokens',
    }),
    oauth_client_secret: z.string().default('').meta({
      env: 'KAFKA_OAUTH_CLIENT_SECRET',
      description: 'secret of that client',
      secret: true,
    }),
    oauth_client_secret_file: z.string().default('').meta({
      env: 'KAFKA_OAUTH_CLIENT_SECRET_FILE',
      description: 'file with that secret; read again for each token',
    }),
    oauth_scope: z.string().default('').meta({
      env: 'KAFKA_OAUTH_SCOPE',
      description:
        'scopes to ask for, separated by spaces; empty: the default scopes of the client',
    }),
    oauth_extensions: textList({ max: 50 })
      .refine(
        (list) => list.every((each) => SASL_EXTENSION.test(each)),
        'must be name=value, comma separated',
      )
      .default([])
      .meta({
        env: 'KAFKA_OAUTH_EXTENSIONS',
        description: 'SASL extensions, name=value, such as logicalCluster=lkc-1',
      }),
    oauth_ca_file: z.string().default('').meta({
      env: 'KAFKA_OAUTH_CA_FILE',
      description: 'PEM file of the authority that signed the token server; empty: the system ones',
    }),
    aws_region: z.string().default('').meta({
      env: 'KAFKA_AWS_REGION',
      description: 'AWS region of the brokers, for aws-msk-iam',
    }),
    connect_timeout_ms: durationMs({ min: 100, max: 600_000 }).default(5_000).meta({
      env: 'KAFKA_CONNECT_TIMEOUT',
      description: 'time limit for connecting to a broker, and again for authenticating',
    }),
    request_timeout_ms: durationMs({ min: 1_000, max: 600_000 }).default(30_000).meta({
      env: 'KAFKA_REQUEST_TIMEOUT',
      description: 'limit of one request to a broker',
    }),
  })
  .superRefine((config, ctx) => {
    const need = (isMet: boolean, setting: keyof typeof config, message: string) => {
      if (!isMet) ctx.addIssue({ code: 'custom', path: [setting], message });
    };
    const { sasl_mechanism: mechanism } = config;
    const hasPassword = mechanism === 'plain' || mechanism.startsWith('scram');
    need(!hasPassword || config.sasl_username !== '', 'sasl_username', `is needed by ${mechanism}`);
    need(
      mechanism !== 'oauthbearer' ||
        (config.oauth_token_url !== '' && config.oauth_client_id !== ''),
      'oauth_token_url',
      'oauth_token_url and oauth_client_id are needed by oauthbearer',
    );
    need(
      mechanism !== 'aws-msk-iam' || config.aws_region !== '',
      'aws_region',
      'is needed by aws-msk-iam',
    );
    need(
      (config.tls_cert_file === '') === (config.tls_key_file === ''),
      'tls_key_file',
      'tls_cert_file and tls_key_file belong together',
    );
  });

export type KafkaConfig = z.infer<typeof kafkaConfig>;
