import { DEFAULT_TOPIC } from '@sockscope/schemas';
import { z } from 'zod';
import { durationMs, flag, textList } from '../config/values.js';

export const SASL_MECHANISMS = ['none', 'plain', 'scram-sha-256', 'scram-sha-512'] as const;

/** What Kafka itself allows as the name of a topic. */
const TOPIC = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;
/** kafkajs splits at the colon, so an IPv6 broker needs a name. */
const BROKER = /^[^\s:[\]]+:\d{1,5}$/;

/** How a service reaches Kafka: plain data, so that it can be handed to another thread. */
export const kafkaConfig = z
  .object({
    brokers: textList({ min: 1, max: 100 })
      .refine(
        (list) => list.every((broker) => BROKER.test(broker)),
        'must be host:port, comma separated',
      )
      .default(['127.0.0.1:9092'])
      .meta({
        env: 'KAFKA_BROKERS',
        description: 'bootstrap brokers, host:port separated by commas',
      }),
    client_id: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,200}$/, 'must be letters, digits, dots, dashes and underscores')
      .default('sockscope')
      .meta({
        env: 'KAFKA_CLIENT_ID',
        description: 'begin of the client ids shown to the brokers, for quotas and logs',
      }),
    topic: z
      .string()
      .regex(TOPIC, 'must be a name that Kafka allows')
      // Room for the suffix of the dead-letter topic.
      .max(245)
      .default(DEFAULT_TOPIC)
      .meta({ env: 'KAFKA_TOPIC', description: 'topic of the session events' }),
    tls: flag().default(false).meta({ env: 'KAFKA_TLS', description: 'connect with TLS' }),
    tls_ca_file: z.string().default('').meta({
      env: 'KAFKA_TLS_CA_FILE',
      description: 'PEM file of the authority that signed the brokers; empty: the system ones',
    }),
    tls_cert_file: z.string().default('').meta({
      env: 'KAFKA_TLS_CERT_FILE',
      description: 'PEM file of the client certificate, for mutual TLS',
    }),
    tls_key_file: z.string().default('').meta({
      env: 'KAFKA_TLS_KEY_FILE',
      description: 'PEM file of the key of that certificate',
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
    connect_timeout_ms: durationMs({ min: 100, max: 600_000 }).default(5_000).meta({
      env: 'KAFKA_CONNECT_TIMEOUT',
      description: 'limit of connecting and of authenticating to a broker, each',
    }),
    request_timeout_ms: durationMs({ min: 1_000, max: 600_000 }).default(30_000).meta({
      env: 'KAFKA_REQUEST_TIMEOUT',
      description: 'limit of one request to a broker',
    }),
  })
  .superRefine((config, ctx) => {
    if (config.sasl_mechanism !== 'none' && config.sasl_username === '') {
      ctx.addIssue({
        code: 'custom',
        path: ['sasl_username'],
        message: 'is needed by sasl_mechanism',
      });
    }
    if ((config.tls_cert_file === '') !== (config.tls_key_file === '')) {
      ctx.addIssue({
        code: 'custom',
        path: ['tls_key_file'],
        message: 'tls_cert_file and tls_key_file belong together',
      });
    }
  });

export type KafkaConfig = z.infer<typeof kafkaConfig>;
