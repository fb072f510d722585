/**
 * The same dialogues with this proxy and with microsocks and dante: a client must see the same,
 * except for the differences that are listed here with their reason.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pickFreePort } from '@sockscope/local';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { startDigestServer, startEchoServer } from '../../support/counting-server.js';
import type { CountingServer } from '../../support/counting-server.js';
import { findProgram, needs } from '../../support/programs.js';
import { createProxySite, runProxyCommand, startProxy } from '../../support/proxy-process.js';
import type { ProxySite } from '../../support/proxy-process.js';
import type { ServiceProcess } from '../../support/service-process.js';

const MICROSOCKS = findProgram('microsocks');
const DANTE = findProgram('danted', 'sockd');
const USER = 'user';
const PASSWORD = 'pass';
/** How long a server may take to answer, or to close. */
const PATIENCE_MS = 15_000;

/** The client's messages in order; each waits for the answer to the previous one, or for the end. */
interface Dialogue {
  readonly name: string;
  /** Whether the server asks for a password. */
  readonly login?: boolean;
  readonly steps: readonly Step[];
}

interface Step {
  readonly send: Buffer;
  /** Bytes of the answer that the client waits for before it continues. */
  readonly expect: number;
  /** Ends the client's side behind it. */
  readonly end?: boolean;
}

/** The answers without the bound address, which servers may choose. */
interface Seen {
  readonly answers: readonly string[];
  /** Whether the server ended the connection, by FIN or RST. */
  readonly closed: boolean;
}

const ipv4 = (port: number): Buffer => Buffer.of(1, 127, 0, 0, 1, port >> 8, port & 255);
const ipv6 = (port: number): Buffer =>
  Buffer.of(4, ...Array<number>(15).fill(0), 1, port >> 8, port & 255);
const byName = (name: string, port: number): Buffer =>
  Buffer.concat([Buffer.of(3, name.length), Buffer.from(name), Buffer.of(port >> 8, port & 255)]);
const request = (command: number, target: Buffer): Buffer =>
  Buffer.concat([Buffer.of(5, command, 0), target]);
const login = (user: string, password: string): Buffer =>
  Buffer.concat([
    Buffer.of(1, user.length),
    Buffer.from(user),
    Buffer.of(password.length),
    Buffer.from(password),
  ]);

const GREETING: Step = { send: Buffer.of(5, 1, 0), expect: 2 };
const GREETING_WITH_LOGIN: Step = { send: Buffer.of(5, 1, 2), expect: 2 };
const REPLY_BYTES = 10;
const NO_SUCH_NAME = 'CONNECT to a name that does not exist';
/** Payload as long as a SHA-256 in hex, which one of the destinations answers with. */
const PAYLOAD = Buffer.from('0123456789abcdef'.repeat(4));

/** Destinations: two that echo, one that answers after the client's end, one that is not there. */
interface Ports {
  readonly open: number;
  readonly open6: number;
  readonly digest: number;
  readonly closed: number;
}

function dialogues(ports: Ports): Dialogue[] {
  const { open, open6, digest, closed } = ports;
  const payload: Step = { send: PAYLOAD, expect: PAYLOAD.length };
  return [
    {
      name: 'CONNECT to an IPv4 address',
      steps: [GREETING, { send: request(1, ipv4(open)), expect: REPLY_BYTES }, payload],
    },
    {
      name: 'half-close',
      steps: [
        GREETING,
        { send: request(1, ipv4(digest)), expect: REPLY_BYTES },
        { ...payload, end: true },
      ],
    },
    {
      name: 'CONNECT to a name',
      steps: [
        GREETING,
        { send: request(1, byName('localhost', open)), expect: REPLY_BYTES },
        payload,
      ],
    },
    {
      name: 'CONNECT to an address that is sent as a name',
      steps: [
        GREETING,
        { send: request(1, byName('127.0.0.1', open)), expect: REPLY_BYTES },
        payload,
      ],
    },
    {
      name: 'CONNECT to an IPv6 address',
      steps: [GREETING, { send: request(1, ipv6(open6)), expect: REPLY_BYTES }, payload],
    },
    {
      name: 'CONNECT to a port on which nothing listens',
      steps: [GREETING, { send: request(1, ipv4(closed)), expect: REPLY_BYTES }],
    },
    {
      name: NO_SUCH_NAME,
      steps: [
        GREETING,
        { send: request(1, byName('no-such-host.invalid', 80)), expect: REPLY_BYTES },
      ],
    },
    {
      name: 'several methods on offer',
      steps: [
        { send: Buffer.of(5, 3, 1, 0, 2), expect: 2 },
        { send: request(1, ipv4(open)), expect: REPLY_BYTES },
        payload,
      ],
    },
    { name: 'only GSSAPI on offer', steps: [{ send: Buffer.of(5, 1, 1), expect: 2 }] },
    { name: 'no method on offer', steps: [{ send: Buffer.of(5, 0), expect: 2 }] },
    { name: 'SOCKS4', steps: [{ send: Buffer.of(4, 1, 0, 80, 127, 0, 0, 1, 0), expect: 2 }] },
    {
      name: 'an unknown command',
      steps: [GREETING, { send: request(9, ipv4(open)), expect: REPLY_BYTES }],
    },
    {
      name: 'BIND, switched off',
      steps: [GREETING, { send: request(2, ipv4(open)), expect: REPLY_BYTES }],
    },
    {
      name: 'an unknown address type',
      steps: [GREETING, { send: request(1, Buffer.of(7, 1, 2, 3, 4, 0, 80)), expect: REPLY_BYTES }],
    },
    {
      name: 'the right password',
      login: true,
      steps: [
        GREETING_WITH_LOGIN,
        { send: login(USER, PASSWORD), expect: 2 },
        { send: request(1, ipv4(open)), expect: REPLY_BYTES },
        payload,
      ],
    },
    {
      name: 'a wrong password',
      login: true,
      steps: [GREETING_WITH_LOGIN, { send: login(USER, 'wrong'), expect: 2 }],
    },
    {
      name: 'no password although one is required',
      login: true,
      steps: [{ send: Buffer.of(5, 1, 0), expect: 2 }],
    },
  ];
}

/** Cases in which a peer deliberately, or by mistake, behaves differently. */
const DIFFERENCES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  microsocks: {
    'half-close': 'it ends both directions when one ends',
    SOCKS4: 'it answers 05 FF, which a SOCKS4 client cannot read; we close',
    [NO_SUCH_NAME]: 'it answers general failure, we answer unreachable',
    'a wrong password': 'it answers 2, we answer 1; RFC 1929 only forbids 0',
  },
  dante: {
    SOCKS4: 'it speaks SOCKS4 too',
    'an unknown command': 'it closes without the reply 07',
    'an unknown address type': 'it closes without the reply 08',
    'BIND, switched off': 'it is switched off there by a rule (02), here as a command (07)',
  },
};

/** Checks that the machine has a name server: without one, each program gives up after a time of its own. */
async function saysQuicklyThatThereIsNoName(): Promise<boolean> {
  const answer = lookup('no-such-host.invalid').then(
    () => false,
    (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ENOTFOUND',
  );
  return await Promise.race([answer, delay(1_000, false)]);
}

/** Sends in pieces of `cut` bytes, so that the server sees the messages split. */
async function talk(port: number, dialogue: Dialogue, cut: number): Promise<Seen> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  let received = Buffer.alloc(0);
  let isClosed = false;
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
  });
  for (const event of ['end', 'close', 'error']) {
    socket.on(event, () => {
      isClosed = true;
    });
  }
  const until = async (condition: () => boolean): Promise<void> => {
    const deadlineMs = Date.now() + PATIENCE_MS;
    while (!condition() && Date.now() < deadlineMs) {
      await delay(2);
    }
  };
  await once(socket, 'connect');
  const answers: string[] = [];
  for (const step of dialogue.steps) {
    for (let at = 0; at < step.send.length; at += cut) {
      socket.write(step.send.subarray(at, at + cut));
      // Without a pause the kernel puts the pieces together again.
      if (step.send.length > cut && cut < 100) await delay(1);
    }
    if (step.end === true) socket.end();
    // An IPv6 destination may be answered with an IPv6 address: such a reply is longer.
    const wanted = (): number =>
      step.expect === REPLY_BYTES && received[3] === 4 ? 22 : step.expect;
    await until(() => received.length >= wanted() || isClosed);
    const answer = received.subarray(0, wanted());
    received = received.subarray(answer.length);
    answers.push(
      step.expect === REPLY_BYTES
        ? `${answer.subarray(0, 3).toString('hex')}, ${answer.length > 3 ? 'whole' : 'short'}`
        : answer.toString('hex'),
    );
    if (isClosed) break;
  }
  if (!isClosed) socket.end();
  await until(() => isClosed);
  socket.destroy();
  return { answers, closed: isClosed };
}

describe('the same dialogue', () => {
  const servers: ChildProcess[] = [];
  let dir: string;
  let site: ProxySite;
  let loginSite: ProxySite;
  const proxies: ServiceProcess[] = [];
  let destinations: CountingServer[] = [];
  let all: Dialogue[] = [];

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sockscope-differential-'));
    const [open, open6, digest] = await Promise.all([
      startEchoServer(),
      startEchoServer('::1'),
      startDigestServer(),
    ]);
    destinations = [open, open6, digest];
    const answersNames = await saysQuicklyThatThereIsNoName();
    all = dialogues({
      open: open.port,
      open6: open6.port,
      digest: digest.port,
      closed: await pickFreePort(),
    }).filter((dialogue) => answersNames || dialogue.name !== NO_SUCH_NAME);
    // The events go nowhere here; they wait in the spool.
    const nowhere = `127.0.0.1:${await pickFreePort()}`;
    const env = { PROXY_EVENTS_FLUSH_TIMEOUT: '0', PROXY_DNS_TIMEOUT: '2s' };
    site = await createProxySite(nowhere, env);
    loginSite = await createProxySite(nowhere, env);
    await runProxyCommand(['users', 'add', USER, '--file', loginSite.usersFile], `${PASSWORD}\n`);
    proxies.push(
      ...(await Promise.all([
        startProxy(site),
        startProxy(loginSite, { PROXY_USERS_FILE: loginSite.usersFile }),
      ])),
    );
  });
  afterAll(async () => {
    for (const server of servers) server.kill('SIGKILL');
    await Promise.all(proxies.map((proxy) => proxy.stop()));
    await Promise.all(destinations.map((destination) => destination.stop()));
    await Promise.all([site.remove(), loginSite.remove()]);
    await rm(dir, { recursive: true, force: true });
  });

  async function launch(program: string, args: readonly string[], port: number): Promise<void> {
    servers.push(spawn(program, args, { stdio: 'ignore' }));
    await vi.waitFor(
      async () => {
        const probe = connect(port, '127.0.0.1');
        await once(probe, 'connect');
        probe.destroy();
      },
      { timeout: 60_000, interval: 50 },
    );
  }

  const ours = (dialogue: Dialogue): number =>
    dialogue.login === true ? loginSite.port : site.port;

  /**
   * Runs every dialogue with us and with the peer, and returns those with a different result for
   * the client.
   */
  async function differences(peer: string, portOf: (dialogue: Dialogue) => number | null) {
    const found: Record<string, { ours: Seen; theirs: Seen }> = {};
    for (const dialogue of all) {
      const port = portOf(dialogue);
      if (port === null) continue;
      const [mine, theirs] = await Promise.all([
        talk(ours(dialogue), dialogue, 1_000_000),
        talk(port, dialogue, 1_000_000),
      ]);
      if (JSON.stringify(mine) !== JSON.stringify(theirs)) {
        found[dialogue.name] = { ours: mine, theirs };
      }
    }
    const known = all.map(({ name }) => name).filter((name) => name in (DIFFERENCES[peer] ?? {}));
    return { found, known: known.toSorted() };
  }

  test('looks the same to the client however it is cut into segments', async () => {
    for (const dialogue of all) {
      const [whole, bytes, threes] = await Promise.all(
        [1_000_000, 1, 3].map((cut) => talk(ours(dialogue), dialogue, cut)),
      );
      expect({ name: dialogue.name, seen: bytes }).toEqual({ name: dialogue.name, seen: whole });
      expect({ name: dialogue.name, seen: threes }).toEqual({ name: dialogue.name, seen: whole });
    }
  });

  test.skipIf(!needs(MICROSOCKS, 'microsocks', 'apt-get install microsocks'))(
    'looks the same with microsocks',
    async () => {
      const [open, withLogin] = [await pickFreePort(), await pickFreePort()];
      await launch(MICROSOCKS ?? '', ['-i', '127.0.0.1', '-p', String(open)], open);
      const account = ['-u', USER, '-P', PASSWORD];
      await launch(
        MICROSOCKS ?? '',
        ['-i', '127.0.0.1', '-p', String(withLogin), ...account],
        withLogin,
      );
      const { found, known } = await differences('microsocks', (dialogue) =>
        dialogue.login === true ? withLogin : open,
      );
      expect(Object.keys(found).toSorted(), JSON.stringify(found, null, 1)).toEqual(known);
    },
  );

  test.skipIf(!needs(DANTE, 'dante', 'apt-get install dante-server') || process.getuid?.() !== 0)(
    'looks the same with dante',
    async () => {
      const port = await pickFreePort();
      const config = join(dir, 'danted.conf');
      await writeFile(
        config,
        `logoutput: stderr
internal: 127.0.0.1 port = ${port}
external: lo
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 command: connect }
socks pass { from: 0.0.0.0/0 to: ::/0 command: connect }
`,
      );
      await launch(DANTE ?? '', ['-f', config, '-p', join(dir, 'danted.pid')], port);
      const { found, known } = await differences('dante', (dialogue) =>
        dialogue.login === true ? null : port,
      );
      expect(Object.keys(found).toSorted(), JSON.stringify(found, null, 1)).toEqual(known);
    },
  );
});
