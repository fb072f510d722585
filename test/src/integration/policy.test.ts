/** Rules and users of a running proxy, changed as an operator changes them. */
import { execFileSync } from 'node:child_process';
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { SocksClient } from 'socks';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { metric } from '../support/api.js';
import { startEchoServer } from '../support/counting-server.js';
import type { CountingServer } from '../support/counting-server.js';
import { startEventLog } from '../support/event-log.js';
import type { EventLog } from '../support/event-log.js';
import { createProxySite, runProxyCommand, startProxy } from '../support/proxy-process.js';
import type { ProxySite } from '../support/proxy-process.js';
import type { ServiceProcess } from '../support/service-process.js';

const WAIT = { timeout: 60_000, interval: 50 };
/** Seldom: more than five refused logins are punished with a delay. */
const LOGIN_WAIT = { timeout: 60_000, interval: 700 };

const rules = (...users: string[]): string =>
  `default: block
rules:
  - name: listed users
    action: allow
    users: [${users.join(', ')}]
    destinations: [127.0.0.0/8]
`;

describe('rules and users of a running proxy', () => {
  let log: EventLog;
  let site: ProxySite;
  let proxy: ServiceProcess;
  let echo: CountingServer;
  const open: Socket[] = [];
  let goodUsers = '';

  beforeAll(async () => {
    [log, echo] = await Promise.all([startEventLog(), startEchoServer()]);
    site = await createProxySite(log.kafka, log.env);
    await writeFile(site.aclFile, rules('alice', 'bob'));
    await addUser('alice', 'one');
    await addUser('bob', 'two');
    proxy = await startProxy(site, { PROXY_USERS_FILE: site.usersFile });
  });
  afterAll(async () => {
    for (const socket of open) socket.destroy();
    await proxy.stop();
    await echo.stop();
    await site.remove();
    await log.stop();
  });

  const addUser = (name: string, password: string) =>
    runProxyCommand(['users', 'add', name, '--file', site.usersFile], `${password}\n`);

  async function connectAs(userId: string, password: string): Promise<Socket> {
    const { socket } = await SocksClient.createConnection({
      command: 'connect',
      proxy: { host: '127.0.0.1', port: site.port, type: 5, userId, password },
      destination: { host: '127.0.0.1', port: echo.port },
    });
    socket.on('error', () => undefined);
    socket.resume();
    open.push(socket);
    return socket;
  }

  const health = async (): Promise<unknown> => (await fetch(`${site.ops}/readyz`)).json();

  test('an added user can log in, and a user with a changed password must use the new one', async () => {
    await expect(connectAs('carol', 'three')).rejects.toThrow(/authentication/i);
    await writeFile(site.aclFile, rules('alice', 'bob', 'carol'));
    await addUser('carol', 'three');
    await vi.waitFor(() => connectAs('carol', 'three'), LOGIN_WAIT);
    await addUser('carol', 'four');
    await vi.waitFor(() => connectAs('carol', 'four'), LOGIN_WAIT);
    await expect(connectAs('carol', 'three')).rejects.toThrow(/authentication/i);
    expect(await readFile(site.usersFile, 'utf8')).not.toMatch(/three|four/);
  });

  test('an invalid file changes nothing, and log, metric and health report it', async () => {
    await writeFile(site.aclFile, `${rules('alice')}  - { name: broken, action: perhaps }\n`);
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_acl_file_valid')).toBe(0);
    }, WAIT);
    expect(await health()).toMatchObject({
      ok: true,
      checks: {
        acl: {
          ok: false,
          detail: expect.stringContaining('acl.yaml:7: rules[2].action: must be one of') as string,
        },
      },
    });
    await vi.waitFor(() => {
      expect(proxy.log.filter((line) => line.includes('the ACL file is invalid'))).toHaveLength(1);
    }, WAIT);
    await connectAs('bob', 'two');

    goodUsers = await readFile(site.usersFile, 'utf8');
    await writeFile(site.usersFile, 'users: [{ name: anonymous }]\n');
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_users_file_valid')).toBe(0);
    }, WAIT);
    await connectAs('bob', 'two');
  });

  test('repaired files come into force, and end forbidden sessions and no others', async () => {
    const alice = await connectAs('alice', 'one');
    await writeFile(site.usersFile, goodUsers);
    for (const name of ['bob', 'carol']) {
      await runProxyCommand(['users', 'remove', name, '--file', site.usersFile]);
    }
    // As editors do: written beside and renamed into place.
    await writeFile(`${site.aclFile}.new`, rules('alice', 'bob', 'carol'));
    await rename(`${site.aclFile}.new`, site.aclFile);
    await vi.waitFor(() => {
      const users = log
        .closed()
        .filter((event) => event.close_reason === 'acl_revoked')
        .map((event) => event.user);
      expect(new Set(users)).toEqual(new Set(['bob', 'carol']));
    }, WAIT);
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_acl_file_valid')).toBe(1);
    }, WAIT);
    expect(alice.destroyed).toBe(false);

    await writeFile(site.aclFile, rules('nobody'));
    process.kill(proxy.pid, 'SIGHUP');
    await vi.waitFor(() => {
      expect(alice.destroyed).toBe(true);
    }, WAIT);
    await log.waitForClosed(
      "the end of alice's session",
      (event) => event.user === 'alice' && event.close_reason === 'acl_revoked',
    );
  });

  test('SIGHUP takes both files in again, changed or not', async () => {
    const reloads = (): number[] =>
      ['ACL reloaded', 'users reloaded'].map(
        (text) => proxy.log.filter((line) => line.includes(text)).length,
      );
    const before = reloads();
    process.kill(proxy.pid, 'SIGHUP');
    await vi.waitFor(() => {
      expect(reloads()).toEqual(before.map((count) => count + 1));
    }, WAIT);
  });

  test('a refused request is recorded with the client, the destination and the rule that refused it', async () => {
    await expect(connectAs('alice', 'one')).rejects.toThrow(/NotAllowed/);
    const session = await log.waitForClosed(
      'the refusal',
      (event) => event.status === 'rejected_by_acl',
    );
    expect(session).toMatchObject({
      user: 'alice',
      source_ip: '127.0.0.1',
      source_port: expect.any(Number) as number,
      dest_host: '127.0.0.1',
      dest_port: echo.port,
      protocol: 'tcp',
      acl_decision: 'block',
      acl_rule_matched: null,
      close_reason: 'acl_rejected',
    });
  });

  test('acl explain agrees with the running proxy', async () => {
    const explain = (...args: string[]): string =>
      execFileSync(process.execPath, ['services/proxy/dist/main.js', 'acl', 'explain', ...args], {
        env: { ...site.env, PROXY_USERS_FILE: site.usersFile },
        encoding: 'utf8',
      });
    expect(explain('--user', 'alice', '--dest', '127.0.0.1', '--port', '80')).toContain(
      'BLOCK by no rule: the default decides',
    );
    await writeFile(site.aclFile, rules('alice'));
    expect(explain('--user', 'alice', '--dest', '127.1', '--port', '80')).toContain(
      'ALLOW by rule "listed users"',
    );
    expect(
      explain('--user', 'alice', '--dest', 'localhost', '--port', String(site.port)),
    ).toContain('BLOCK by rule "protection:own_ports"');
    await vi.waitFor(() => connectAs('alice', 'one'), WAIT);
  });

  test('guessing passwords gets slow, for the guesser and not for others', async () => {
    for (let i = 0; i < 6; i += 1) {
      await expect(connectAs('mallory', `guess ${i}`)).rejects.toThrow(/authentication/i);
    }
    // If a guess itself takes as long as the first delay, a later one meets a longer delay.
    await vi.waitFor(async () => {
      await expect(connectAs('mallory', 'guess')).rejects.toThrow(/authentication/i);
      expect(
        await metric(site.ops, 'sockscope_proxy_auth_attempts_total', { result: 'throttled' }),
      ).toBeGreaterThan(0);
    }, WAIT);
    await connectAs('alice', 'one');
  });

  test('thousands of rules come into force as one does', async () => {
    const many = Array.from(
      { length: 2_000 },
      (_, i) => `  - { name: r${i}, action: block, destinations: ["*.site${i}.example"] }`,
    );
    await writeFile(site.aclFile, `${rules('alice')}${many.join('\n')}\n`);
    await vi.waitFor(async () => {
      expect(await metric(site.ops, 'sockscope_proxy_acl_rules')).toBe(2_001);
    }, WAIT);
    await connectAs('alice', 'one');
  });
});
