/**
 * A real ClickHouse whose users have the rights that `grants plan` prints and no others, and TLS with
 * client certificates in front of it: the embedded server speaks no TLS itself.
 */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { pickFreePort, startClickHouse } from '@sockscope/local';
import type { ClickHouseServer } from '@sockscope/local';
import { clickhouseConfig, createClickHouse } from '@sockscope/runtime/clickhouse';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { tempDir, until } from '../chaos/support/site.js';
import { SMALL_TABLES } from '../support/clickhouse-settings.js';
import { createCertificate, PASSPHRASE } from '../support/certificates.js';
import type { Certificate } from '../support/certificates.js';
import { PLANNED_PASSWORD, writePlannedUsers } from '../support/clickhouse-users.js';
import { INGEST, QUERY, startService } from '../support/service-process.js';

let dir = '';
let server: ClickHouseServer;
const file = (name: string) => join(dir, name);
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  const temporary = await tempDir('clickhouse');
  cleanups.push(temporary.remove);
  ({ dir } = temporary);
  const configFile = await writePlannedUsers(dir);
  server = await startClickHouse({
    dataDir: file('clickhouse'),
    configFile,
    settings: SMALL_TABLES,
  });
  cleanups.push(() => server.kill());
  await writeFile(file('password'), `${PLANNED_PASSWORD}\n`);
});
afterAll(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const as = (user: string) => ({
  CLICKHOUSE_URL: server.url,
  CLICKHOUSE_USER: user,
  CLICKHOUSE_PASSWORD_FILE: file('password'),
});

function run(main: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    env,
    encoding: 'utf8',
  });
  return { status, text: stdout + stderr };
}

describe('the users of `grants plan`', () => {
  test('are enough for migrate, for the checks of both services, and for a query service that answers', async () => {
    expect(run(INGEST, ['migrate'], as('sockscope_migrate'))).toMatchObject({ status: 0 });
    const check = ['clickhouse', 'check'];
    const ofIngest = run(INGEST, check, as('sockscope_ingest'));
    expect(ofIngest).toMatchObject({ status: 0 });
    expect(ofIngest.text).toMatch(/ok +ClickHouse \d+[^]*ok +read sessions[^]*ok +write sessions/);
    expect(run(QUERY, check, as('sockscope_query'))).toMatchObject({ status: 0 });

    const [api, ops] = [`127.0.0.1:${await pickFreePort()}`, `127.0.0.1:${await pickFreePort()}`];
    const env = { ...as('sockscope_query'), QUERY_LISTEN: api, QUERY_OPS_LISTEN: ops };
    const query = await startService({ main: QUERY, env, ops: `http://${ops}` });
    const { checks } = (await (await fetch(`http://${ops}/readyz`)).json()) as { checks: unknown };
    expect(checks).toMatchObject({ clickhouse: { ok: true }, clickhouse_writes: { ok: true } });
    for (const path of [
      'stats',
      'sessions',
      'sessions/active',
      'traffic',
      'top/users',
      'top/destinations',
    ]) {
      const response = await fetch(`http://${api}/api/v1/${path}`);
      expect([path, response.status, await response.text()]).toEqual([
        path,
        200,
        expect.any(String),
      ]);
    }
    expect(await query.stop()).toBe(0);
  });

  test('a user without rights sees each missing right and the statement that grants it', () => {
    const { status, text } = run(INGEST, ['clickhouse', 'check'], as('stranger'));
    expect(status).toBe(1);
    expect(text).toContain('Grant it with: GRANT SELECT ON sockscope.sessions TO `stranger`');
    expect(text).toContain('Grant it with: GRANT INSERT ON sockscope.sessions TO `stranger`');
  });

  test('/readyz of ingest and of query names the missing right and the statement that grants it', async () => {
    const address = async () => `127.0.0.1:${await pickFreePort()}`;
    const [api, ops, kafka] = [await address(), await address(), await address()];
    const says = 'Grant it with: GRANT SELECT ON sockscope.';
    const start = (main: string, env: Readonly<Record<string, string>>) =>
      startService({ main, env: { ...as('stranger'), ...env }, ops: `http://${ops}`, says });
    await (await start(INGEST, { KAFKA_BROKERS: kafka, INGEST_OPS_LISTEN: ops })).stop();
    const query = await start(QUERY, { QUERY_LISTEN: api, QUERY_OPS_LISTEN: ops });
    const report = await (await fetch(`http://${ops}/readyz`)).text();
    expect(report).toMatch(/"clickhouse_writes":\{"ok":false[^}]*GRANT INSERT ON sockscope\./);
    expect(await query.stop()).toBe(0);
  });
});

/** Accepts a client with a certificate of the user's name, as ClickHouse does, and then asks the real server. */
async function startTls(certificate: Certificate, trusted: Certificate) {
  const options = ({ cert, key }: Certificate, authority: Certificate) => ({
    cert,
    key,
    ca: authority.cert,
    requestCert: true,
    rejectUnauthorized: true,
  });
  const front = createServer(options(certificate, trusted), (incoming, outgoing) => {
    const { headers } = incoming;
    const name = (incoming.socket as TLSSocket).getPeerCertificate().subject.CN;
    const isKnown =
      headers['x-clickhouse-ssl-certificate-auth'] === 'on' &&
      headers['x-clickhouse-user'] === name;
    if (!isKnown || headers.authorization !== undefined) {
      outgoing.writeHead(403).end('Code: 516. DB::Exception: Authentication failed');
      return;
    }
    const onward = request(
      `${server.url}${incoming.url}`,
      { method: incoming.method, headers: { 'content-type': headers['content-type'] ?? '' } },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      },
    );
    incoming.pipe(onward);
  });
  front.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    front.closeAllConnections();
    front.close();
  });
  return {
    url: `https://127.0.0.1:${(front.address() as AddressInfo).port}`,
    /** Shows another certificate and trusts another authority; open connections end. */
    change(next: Certificate, authority: Certificate) {
      front.setSecureContext(options(next, authority));
      front.closeAllConnections();
    },
  };
}

test('a certificate, its key and the authority are rotated under queries, without a new client', async () => {
  const [first, second] = [createCertificate('authority'), createCertificate('next authority')];
  const write = async (authority: Certificate) => {
    const client = createCertificate('default', authority);
    await writeFile(file('ca.pem'), authority.cert);
    await writeFile(file('client.pem'), client.cert);
    await writeFile(file('client.key'), client.encryptedKey);
  };
  await write(first);
  await writeFile(file('passphrase'), `${PASSPHRASE}\n`);
  const front = await startTls(createCertificate('server', first), first);
  const clickhouse = createClickHouse(
    clickhouseConfig.parse({
      url: front.url,
      ca_file: file('ca.pem'),
      cert_file: file('client.pem'),
      key_file: file('client.key'),
      key_passphrase_file: file('passphrase'),
    }),
  );
  cleanups.push(() => clickhouse.close());
  const ask = () =>
    clickhouse.query({ sql: 'SELECT 1 AS one', row: z.object({ one: z.number() }) });
  await expect(ask()).resolves.toEqual([{ one: 1 }]);
  await expect(clickhouse.ping()).resolves.toBeUndefined();

  front.change(createCertificate('server', second), second);
  await expect(ask()).rejects.toMatchObject({ code: 'clickhouse_network', retryable: true });
  await write(second);
  await until('queries are answered with the new certificate', 60_000, () =>
    ask().then(
      () => true,
      () => false,
    ),
  );

  await writeFile(file('client.key'), 'no key');
  front.change(createCertificate('server', second), second);
  await expect(ask()).rejects.toMatchObject({ retryable: true });
  await write(second);
  await expect(ask()).resolves.toEqual([{ one: 1 }]);
});
