/**
 * Clients that people use, against the real proxy: each must work, and the events must have its
 * bytes exactly, by the count of the destination's own sockets.
 *
 * Longer than 400 lines: all clients use one proxy and one set of destinations.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { spawn } from 'node:child_process';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { pickFreePort } from '@sockscope/local';
import type { SessionClosed } from '@sockscope/schemas';
import { SocksClient } from 'socks';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startDigestServer, startHttpServer } from '../../support/counting-server.js';
import type { CountingServer } from '../../support/counting-server.js';
import { startEventLog } from '../../support/event-log.js';
import type { EventLog } from '../../support/event-log.js';
import { findProgram, needs, run } from '../../support/programs.js';
import { createProxySite, runProxyCommand, startProxy } from '../../support/proxy-process.js';
import type { ProxySite } from '../../support/proxy-process.js';
import type { ServiceProcess } from '../../support/service-process.js';

const CURL = findProgram('curl');
const NETCAT = findProgram('nc.openbsd');
const PROXYCHAINS = findProgram('proxychains4');
const PYTHON = await pythonWithSocks();
const SSH = findProgram('ssh');
const SSHD = findProgram('sshd');
const SSH_KEYGEN = findProgram('ssh-keygen');
const CHROMIUM = findProgram('chromium', 'chromium-browser', 'google-chrome');

const USER = 'alice';
const PASSWORD = 'correct horse: battery "staple"';
const UPLOAD = randomBytes(3_000_017);
const DOWNLOAD = randomBytes(2_345_678);

async function pythonWithSocks(): Promise<string | null> {
  for (const name of ['/usr/bin/python3', 'python3']) {
    const python = findProgram(name);
    if (python === null) continue;
    if ((await run(python, ['-c', 'import socks'])).code === 0) return python;
  }
  return null;
}

const PAGE = `<!doctype html><title>page</title><p id=result>waiting</p><script>
Promise.all(Array.from({ length: 20 }, (_, i) => fetch('/part/' + i).then((r) => r.text())))
  .then((parts) => fetch('/post', { method: 'POST', body: parts.join('') }))
  .then((r) => r.text())
  .then((text) => { document.getElementById('result').textContent = text; });
</script>`;

function serve(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'POST' || request.method === 'PUT') {
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => response.end(hash.digest('hex')));
    return;
  }
  if (request.url === '/page') response.setHeader('content-type', 'text/html').end(PAGE);
  else if (request.url?.startsWith('/part/')) response.end(`${request.url} `.repeat(500));
  else response.end(DOWNLOAD);
}

describe('real clients', () => {
  let log: EventLog;
  let site: ProxySite;
  let proxy: ServiceProcess;
  let http: CountingServer;
  let digest: CountingServer;
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sockscope-clients-'));
    [log, http, digest] = await Promise.all([
      startEventLog(),
      startHttpServer(serve),
      startDigestServer(),
    ]);
    site = await createProxySite(log.kafka, {
      ...log.env,
      PROXY_AUTH: 'optional',
      PROXY_UDP_ENABLED: 'true',
      PROXY_BIND_ENABLED: 'true',
    });
    await runProxyCommand(
      ['users', 'add', USER, '--group', 'staff', '--file', site.usersFile],
      `${PASSWORD}\n`,
    );
    proxy = await startProxy(site, { PROXY_USERS_FILE: site.usersFile });
  });
  afterAll(async () => {
    const code = await proxy.stop();
    if (code !== 0) throw new Error(`the proxy ended with ${code}:\n${proxy.log.join('\n')}`);
    await Promise.all([http.stop(), digest.stop(), site.remove()]);
    await log.stop();
    await rm(dir, { recursive: true, force: true });
  });

  /**
   * Runs `work`, waits until every connection that it made to `server` is the end of a session,
   * and compares the sums. Gives these sessions back.
   */
  async function recorded(
    server: CountingServer,
    work: () => Promise<void>,
  ): Promise<SessionClosed[]> {
    const before = { ...server.totals };
    const known = log.closed().length;
    await work();
    return await vi.waitFor(
      () => {
        expect(server.open).toBe(0);
        const sessions = log
          .closed()
          .slice(known)
          .filter((session) => session.dest_port === server.port);
        expect(sessions.length).toBe(server.totals.connections - before.connections);
        expect(sessions.length).toBeGreaterThan(0);
        const sum = (name: 'bytes_sent' | 'bytes_received'): number =>
          sessions.reduce((total, session) => total + session[name], 0);
        expect(sum('bytes_sent')).toBe(server.totals.read - before.read);
        expect(sum('bytes_received')).toBe(server.totals.written - before.written);
        return sessions;
      },
      { timeout: 60_000, interval: 50 },
    );
  }

  describe.skipIf(!needs(CURL, 'curl', 'apt-get install curl'))('curl', () => {
    const url = (path: string, host = '127.0.0.1'): string => `http://${host}:${http.port}${path}`;
    const curl = (...args: string[]) => run(CURL ?? '', ['--silent', '--show-error', ...args]);

    test('downloads by a name that the proxy resolves', async () => {
      const [session] = await recorded(http, async () => {
        const { stdout } = await curl('--socks5-hostname', site.socks, url('/', 'localhost'));
        expect(stdout.equals(DOWNLOAD)).toBe(true);
      });
      expect(session).toMatchObject({
        user: 'anonymous',
        auth_method: 'none',
        dest_host: 'localhost',
        status: 'closed',
      });
    });

    test('uploads to an address that it resolved itself', async () => {
      const [session] = await recorded(http, async () => {
        const { stdout } = await run(
          CURL ?? '',
          ['-s', '--socks5', site.socks, '-T', '-', '-H', 'Expect:', url('/put')],
          { input: UPLOAD },
        );
        expect(stdout.toString()).toBe(createHash('sha256').update(UPLOAD).digest('hex'));
      });
      expect(session).toMatchObject({ dest_host: '127.0.0.1', dest_ip: '127.0.0.1' });
    });

    test('logs in, though it offers GSSAPI too', async () => {
      const proxyUser = ['--proxy-user', `${USER}:${PASSWORD}`];
      const [session] = await recorded(http, async () => {
        const { stdout } = await curl('--socks5-hostname', site.socks, ...proxyUser, url('/'));
        expect(stdout.equals(DOWNLOAD)).toBe(true);
      });
      expect(session).toMatchObject({ user: USER, auth_method: 'password' });
    });

    test('is refused with a wrong password, and no session is recorded', async () => {
      const known = log.started().length;
      const result = await curl(
        '--socks5-hostname',
        site.socks,
        '--proxy-user',
        `${USER}:wrong`,
        url('/'),
      );
      expect(result.code).toBe(97);
      expect(result.stderr).toMatch(/rejected by the SOCKS5 server/i);
      expect(log.started().length).toBe(known);
    });

    test('learns the reason of a failed connection', async () => {
      const port = await pickFreePort();
      const refused = await curl('--socks5-hostname', site.socks, `http://127.0.0.1:${port}/`);
      expect(refused.stderr).toContain('(5)');
      const blocked = await curl('--socks5-hostname', site.socks, 'http://10.255.255.1:81/');
      expect(blocked.stderr).toContain('(2)');
      const own = await curl('--socks5-hostname', site.socks, site.ops);
      expect(own.stderr).toContain('(2)');
      expect(
        await log.waitForClosed('a refused connection', (session) => session.dest_port === port),
      ).toMatchObject({ status: 'failed', close_reason: 'connect_failed' });
      expect(
        await log.waitForClosed('a blocked one', (session) => session.dest_port === 81),
      ).toMatchObject({
        status: 'rejected_by_acl',
        acl_decision: 'block',
        acl_rule_matched: 'protection:private',
      });
    });

    test('downloads many files at once', async () => {
      const sessions = await recorded(http, async () => {
        const result = await curl(
          '--socks5-hostname',
          site.socks,
          '--parallel',
          '--parallel-max',
          '20',
          '--output',
          '/dev/null',
          '--write-out',
          '%{http_code}\n',
          url('/?[1-40]'),
        );
        expect(result.stdout.toString().match(/200/g)).toHaveLength(40);
      });
      expect(sessions.length).toBeGreaterThan(1);
    });
  });

  describe.skipIf(!needs(NETCAT, 'netcat-openbsd', 'apt-get install netcat-openbsd'))(
    'netcat',
    () => {
      test('closes its side first and still gets the answer', async () => {
        const [session] = await recorded(digest, async () => {
          const { stdout } = await run(
            NETCAT ?? '',
            ['-N', '-X', '5', '-x', site.socks, '127.0.0.1', String(digest.port)],
            { input: UPLOAD },
          );
          expect(stdout.toString()).toBe(createHash('sha256').update(UPLOAD).digest('hex'));
        });
        expect(session).toMatchObject({ bytes_sent: UPLOAD.length, bytes_received: 64 });
      });
    },
  );

  describe.skipIf(
    !needs(PROXYCHAINS, 'proxychains4', 'apt-get install proxychains4') || CURL === null,
  )('proxychains4', () => {
    test('carries a program that knows no proxies, names included', async () => {
      const config = join(dir, 'proxychains.conf');
      await writeFile(
        config,
        `strict_chain\nproxy_dns\nquiet_mode\n[ProxyList]\nsocks5 127.0.0.1 ${site.port}\n`,
      );
      const [session] = await recorded(http, async () => {
        const { stdout } = await run(PROXYCHAINS ?? '', [
          '-q',
          '-f',
          config,
          CURL ?? '',
          '-s',
          `http://127.0.0.1:${http.port}/`,
        ]);
        expect(stdout.equals(DOWNLOAD)).toBe(true);
      });
      expect(session).toMatchObject({ dest_ip: '127.0.0.1', status: 'closed' });
    });
  });

  /** Answers every datagram with itself in upper case; counts by its own. */
  async function startUdpEcho() {
    const socket = createSocket('udp4');
    const totals = { datagrams: 0, bytes: 0 };
    socket.on('message', (message, from) => {
      totals.datagrams += 1;
      totals.bytes += message.length;
      socket.send(message.toString('latin1').toUpperCase(), from.port, from.address);
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return { port: socket.address().port, totals, stop: () => socket.close() };
  }

  describe.skipIf(!needs(PYTHON, 'PySocks', 'apt-get install python3-socks'))('PySocks', () => {
    const python = (script: string) => run(PYTHON ?? '', ['-c', script]);

    test('logs in and connects by name', async () => {
      const [session] = await recorded(digest, async () => {
        const { stdout, stderr } = await python(`
import socks, socket
s = socks.socksocket()
s.set_proxy(socks.SOCKS5, "127.0.0.1", ${site.port}, True, ${JSON.stringify(USER)}, ${JSON.stringify(PASSWORD)})
s.connect(("localhost", ${digest.port}))
s.sendall(b"x" * 100000)
s.shutdown(socket.SHUT_WR)
print(s.makefile().read(), end="")
`);
        expect(stderr).toBe('');
        expect(stdout.toString()).toBe(
          createHash('sha256').update('x'.repeat(100_000)).digest('hex'),
        );
      });
      expect(session).toMatchObject({ user: USER, bytes_sent: 100_000, bytes_received: 64 });
    });

    test('sends and receives datagrams', async () => {
      const echo = await startUdpEcho();
      const { stdout, stderr } = await python(`
import socks, socket
s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.set_proxy(socks.SOCKS5, "127.0.0.1", ${site.port})
for i in range(50):
    s.sendto(b"datagram %d" % i, ("127.0.0.1", ${echo.port}))
    answer, address = s.recvfrom(2000)
    print(answer.decode(), address[1])
s.close()
`);
      expect(stderr).toBe('');
      expect(stdout.toString().trim().split('\n')).toEqual(
        Array.from({ length: 50 }, (_, i) => `DATAGRAM ${i} ${echo.port}`),
      );
      const session = await log.waitForClosed(
        'the datagrams',
        ({ protocol, dest_port }) => protocol === 'udp' && dest_port === echo.port,
      );
      expect(session).toMatchObject({
        command: 'udp_associate',
        dest_ip: '127.0.0.1',
        packets_sent: 50,
        packets_received: 50,
        bytes_sent: echo.totals.bytes,
        bytes_received: echo.totals.bytes,
      });
      echo.stop();
    });
  });

  describe('the npm client socks', () => {
    interface Established {
      readonly socket: Socket;
      readonly remoteHost?: { readonly host: string; readonly port: number };
    }
    const options = (command: 'associate' | 'bind', port: number) => ({
      command,
      proxy: {
        host: '127.0.0.1',
        port: site.port,
        type: 5 as const,
        userId: USER,
        password: PASSWORD,
      },
      destination: { host: '0.0.0.0', port },
    });

    test('sends and receives datagrams', async () => {
      const echo = await startUdpEcho();
      const client = new SocksClient(options('associate', 0));
      const established = new Promise<Established>((resolve, reject) => {
        client.on('established', resolve);
        client.on('error', reject);
      });
      client.connect();
      const { socket: control, remoteHost } = await established;
      const socket = createSocket('udp4');
      const packet = SocksClient.createUDPFrame({
        remoteHost: { host: '127.0.0.1', port: echo.port },
        data: Buffer.from('hello'),
      });
      const answered = once(socket, 'message') as Promise<[Buffer]>;
      socket.send(packet, remoteHost?.port ?? 0, remoteHost?.host ?? '');
      const [answer] = await answered;
      const parsed = SocksClient.parseUDPFrame(answer);
      expect(parsed.data.toString()).toBe('HELLO');
      expect(parsed.remoteHost.port).toBe(echo.port);
      socket.close();
      control.destroy();
      const session = await log.waitForClosed(
        'the datagram',
        ({ protocol, dest_port }) => protocol === 'udp' && dest_port === echo.port,
      );
      expect(session).toMatchObject({ user: USER, bytes_sent: 5, bytes_received: 5 });
      echo.stop();
    });

    test('waits for a peer by BIND', async () => {
      const client = new SocksClient(options('bind', 0));
      const bound = new Promise<{ remoteHost?: { host: string; port: number } }>(
        (resolve, reject) => {
          client.on('bound', resolve);
          client.on('error', reject);
        },
      );
      const established = once(client, 'established') as Promise<
        [{ socket: import('node:net').Socket }]
      >;
      client.connect();
      const { remoteHost } = await bound;
      const peer = connect(remoteHost?.port ?? 0, '127.0.0.1');
      const [{ socket }] = await established;
      socket.resume();
      const heard = once(socket, 'data') as Promise<[Buffer]>;
      peer.write('from the peer');
      expect((await heard)[0].toString()).toBe('from the peer');
      const peerHeard = once(peer, 'data') as Promise<[Buffer]>;
      socket.write('from the client');
      expect((await peerHeard)[0].toString()).toBe('from the client');
      peer.end();
      socket.end();
      const session = await log.waitForClosed('the bind', ({ command }) => command === 'bind');
      expect(session).toMatchObject({
        status: 'closed',
        bytes_sent: 'from the client'.length,
        bytes_received: 'from the peer'.length,
      });
    });
  });

  const canSsh = needs(SSHD, 'sshd', 'apt-get install openssh-server') && NETCAT !== null;
  describe.skipIf(!canSsh || SSH === null || SSH_KEYGEN === null)('ssh', () => {
    test('works through the proxy in both directions', async () => {
      const port = await pickFreePort();
      for (const name of ['host', 'user']) {
        await run(SSH_KEYGEN ?? '', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, name)]);
      }
      await writeFile(join(dir, 'authorized'), await readFile(join(dir, 'user.pub')));
      await chmod(join(dir, 'authorized'), 0o600);
      await writeFile(
        join(dir, 'sshd_config'),
        [
          `Port ${port}`,
          'ListenAddress 127.0.0.1',
          `HostKey ${join(dir, 'host')}`,
          `AuthorizedKeysFile ${join(dir, 'authorized')}`,
          `PidFile ${join(dir, 'sshd.pid')}`,
          'StrictModes no',
          'UsePAM no',
          'PermitRootLogin prohibit-password',
        ].join('\n'),
      );
      // If no init system has made it.
      if (userInfo().uid === 0) await mkdir('/run/sshd', { recursive: true });
      const sshd = spawn(SSHD ?? '', ['-D', '-e', '-f', join(dir, 'sshd_config')], {
        stdio: 'ignore',
      });
      try {
        await vi.waitFor(
          async () => {
            const probe = connect(port, '127.0.0.1');
            await once(probe, 'connect');
            probe.destroy();
          },
          { timeout: 60_000, interval: 50 },
        );
        const { stdout, stderr } = await run(
          SSH ?? '',
          [
            '-F',
            'none',
            '-o',
            `ProxyCommand=${NETCAT} -X 5 -x ${site.socks} %h %p`,
            '-o',
            'StrictHostKeyChecking=no',
            '-o',
            'UserKnownHostsFile=/dev/null',
            '-o',
            'BatchMode=yes',
            '-i',
            join(dir, 'user'),
            '-p',
            String(port),
            `${userInfo().username}@127.0.0.1`,
            'sha256sum; head -c 1000000 /dev/zero | sha256sum',
          ],
          { input: UPLOAD },
        );
        const sha = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
        expect({ stderr, out: stdout.toString().split(/\s+-\s+/) }).toMatchObject({
          out: [sha(UPLOAD), sha(Buffer.alloc(1_000_000)), ''],
        });
        const session = await log.waitForClosed('ssh', ({ dest_port }) => dest_port === port);
        expect(session.status).toBe('closed');
        expect(session.bytes_sent).toBeGreaterThan(UPLOAD.length);
        expect(session.bytes_received).toBeGreaterThan(1_000);
      } finally {
        sshd.kill();
      }
    });
  });

  describe.skipIf(!needs(CHROMIUM, 'Chromium', 'apt-get install chromium'))('Chromium', () => {
    test('loads a page with its parts and sends a form, all of it counted', async () => {
      const sessions = await recorded(http, async () => {
        const { stdout, stderr } = await run(CHROMIUM ?? '', [
          '--headless',
          '--no-sandbox',
          '--disable-gpu',
          '--disable-dev-shm-usage',
          '--disable-background-networking',
          '--no-first-run',
          `--user-data-dir=${join(dir, 'chromium')}`,
          `--proxy-server=socks5://${site.socks}`,
          '--proxy-bypass-list=<-loopback>',
          '--virtual-time-budget=10000',
          '--dump-dom',
          `http://localhost:${http.port}/page`,
        ]);
        const body = Array.from({ length: 20 }, (_, i) => `/part/${i} `.repeat(500)).join('');
        const expected = createHash('sha256').update(body).digest('hex');
        expect(`${stdout.toString()}${stderr}`).toContain(`<p id="result">${expected}</p>`);
      });
      expect(new Set(sessions.map((session) => session.dest_host))).toEqual(new Set(['localhost']));
    });
  });
});
