import { z } from 'zod';
import { durationMs, integer, textList } from '../config/values.js';

/** A name that needs no quoting anywhere: ours, never a client's. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;

const FILE_AGAIN = 'read again for each new connection';

/** How a service reaches ClickHouse's HTTP interface. */
const httpUrl = () =>
  z.url({ protocol: /^https?$/, error: 'must be a URL such as http://127.0.0.1:8123' });

export const clickhouseConfig = z
  .object({
    url: httpUrl()
      .default('http://127.0.0.1:8123')
      .meta({ env: 'CLICKHOUSE_URL', description: 'HTTP(S) address of ClickHouse' }),
    failover_urls: textList({ max: 20 }).pipe(z.array(httpUrl())).default([]).meta({
      env: 'CLICKHOUSE_FAILOVER_URLS',
      description:
        'replicas for queries and inserts while CLICKHOUSE_URL cannot be reached; sums, migrations and commands wait for CLICKHOUSE_URL',
    }),
    user: z
      .string()
      .min(1)
      .default('default')
      .meta({ env: 'CLICKHOUSE_USER', description: 'ClickHouse user' }),
    password: z
      .string()
      .default('')
      .meta({ env: 'CLICKHOUSE_PASSWORD', description: 'password of that user', secret: true }),
    password_file: z.string().default('').meta({
      env: 'CLICKHOUSE_PASSWORD_FILE',
      description: 'file with that password; read again for each request',
    }),
    database: z
      .string()
      .regex(NAME, 'must be letters, digits and underscores')
      .default('sockscope')
      .meta({ env: 'CLICKHOUSE_DATABASE', description: 'database that holds the tables' }),
    timeout_ms: durationMs({ min: 100, max: 3_600_000 }).default(30_000).meta({
      env: 'CLICKHOUSE_TIMEOUT',
      description: 'default deadline of one request',
    }),
    connections_max: integer({ min: 1, max: 1_000 })
      .default(10)
      .meta({ env: 'CLICKHOUSE_CONNECTIONS_MAX', description: 'open connections to ClickHouse' }),
    ca_file: z
      .string()
      .default('')
      .meta({
        env: 'CLICKHOUSE_CA_FILE',
        description: `PEM file of the authority that signed its certificate; empty: the system ones; ${FILE_AGAIN}`,
      }),
    cert_file: z
      .string()
      .default('')
      .meta({
        env: 'CLICKHOUSE_CERT_FILE',
        description: `PEM file of the client certificate that the user authenticates with; needs https; ${FILE_AGAIN}`,
      }),
    key_file: z
      .string()
      .default('')
      .meta({
        env: 'CLICKHOUSE_KEY_FILE',
        description: `PEM file of the key of that certificate; ${FILE_AGAIN}`,
      }),
    key_passphrase: z.string().default('').meta({
      env: 'CLICKHOUSE_KEY_PASSPHRASE',
      description: 'passphrase of that key, when it is encrypted',
      secret: true,
    }),
    key_passphrase_file: z
      .string()
      .default('')
      .meta({
        env: 'CLICKHOUSE_KEY_PASSPHRASE_FILE',
        description: `file with that passphrase; ${FILE_AGAIN}`,
      }),
  })
  .superRefine((config, ctx) => {
    const hasBoth = (config.cert_file === '') === (config.key_file === '');
    if (!hasBoth) {
      const message = 'cert_file and key_file belong together';
      ctx.addIssue({ code: 'custom', path: ['key_file'], message });
    }
  });

export type ClickHouseConfig = z.infer<typeof clickhouseConfig>;
