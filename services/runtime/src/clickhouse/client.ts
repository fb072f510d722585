/**
 * One client of @clickhouse/client for one node. Files of certificates, keys and their authority are
 * read for each new connection, so that a rotation needs no restart: connections that are open stay,
 * new ones use the present files. The password's file is read for each request.
 */
import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import type { RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import type { ClickHouseClient } from '@clickhouse/client';
import { readSecretFile, secretOf } from '../config/secret-file.js';
import type { ClickHouseConfig } from './config.js';

/** @throws Error when a file cannot be read. */
function tlsFilesOf(config: ClickHouseConfig): RequestOptions {
  const { ca_file, cert_file, key_file } = config;
  const passphrase = secretOf(config.key_passphrase, config.key_passphrase_file);
  return {
    ...(ca_file === '' ? {} : { ca: readFileSync(ca_file) }),
    ...(cert_file === ''
      ? {}
      : {
          cert: readFileSync(cert_file),
          key: readFileSync(key_file),
          ...(passphrase === '' ? {} : { passphrase }),
        }),
  };
}

class RotatingAgent extends Agent {
  readonly #config: ClickHouseConfig;

  constructor(config: ClickHouseConfig) {
    super({
      keepAlive: true,
      maxSockets: config.connections_max,
      // A resumed TLS session would show the certificate of the first one again.
      maxCachedSessions: 0,
    });
    this.#config = config;
  }

  override createConnection(
    options: RequestOptions,
    callback: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    let files: RequestOptions;
    try {
      files = tlsFilesOf(this.#config);
    } catch (error) {
      // Node takes an error without a stream; its types do not show it.
      (callback as (error: unknown) => void)(error);
      return undefined;
    }
    return super.createConnection({ ...options, ...files }, callback);
  }
}

/** Authenticates the user by the certificate, or by a password in each request. */
function identityOf({ user, cert_file }: ClickHouseConfig): object {
  if (cert_file === '') return {};
  return {
    set_basic_auth_header: false,
    http_headers: { 'X-ClickHouse-User': user, 'X-ClickHouse-SSL-Certificate-Auth': 'on' },
  };
}

export function createNodeClient(config: ClickHouseConfig, url: string): ClickHouseClient {
  return createClient({
    url,
    username: config.user,
    password: config.password,
    database: config.database,
    application: 'sockscope',
    max_open_connections: config.connections_max,
    // Limits the silence of the socket. Our own deadline of a call ends it first.
    request_timeout: 24 * 3_600_000,
    // ClickHouse closes an idle connection after 10 s (3 s before 23.11): be there first.
    keep_alive: { enabled: true, idle_socket_ttl: 2_000, eagerly_destroy_stale_sockets: true },
    // Arrays of a filter may make a URL too long.
    use_multipart_params_auto: true,
    // A failure is thrown; the caller logs it.
    log: { level: ClickHouseLogLevel.OFF },
    ...(url.startsWith('https:') ? { http_agent: new RotatingAgent(config) } : {}),
    ...identityOf(config),
  });
}

/** The password of a request when it is kept in a file. @throws SockscopeError when it cannot be read. */
export function requestAuthOf({ user: username, password_file: file }: ClickHouseConfig): {
  readonly auth?: { readonly username: string; readonly password: string };
} {
  return file === '' ? {} : { auth: { username, password: readSecretFile(file) } };
}
