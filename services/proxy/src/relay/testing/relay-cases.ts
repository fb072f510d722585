// Over 400 lines because it is one list: each relay has to pass all of it.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Session } from '../../sessions/session.js';
import { createLogger } from '@sockscope/runtime';
import { handleOf } from '../handle.js';
import type { Relay, RelayLimits } from '../relay.js';
import { LINUX, loadLibc } from '../splice/libc.js';
import type { Libc } from '../splice/libc.js';
import { createSpliceRelay } from '../splice/splice-relay.js';
import type { SpliceRelay } from '../splice/splice-relay.js';
import { createRelayBench, receiveAll, sendRandom, until } from './relay-bench.js';
import type { RelayBench } from './relay-bench.js';
import { probeKeepalive } from '../../testing/socket-probe.js';
import type { SocketProbe } from '../../testing/socket-probe.js';

const SPLICE = { pipe_bytes: 262_144, max_pipes: 64, after_bytes: 0, threads: 1 };
const onLinux = process.platform === 'linux';
const NEVER: RelayLimits = { idle_timeout_ms: 0, half_close_linger_ms: 0, keepalive_ms: 0 };

/** The session with its counters brought up to date, as the tracker's sweep does. */
function live(session: Session): Session {
  session.refreshCounters?.();
  return session;
}

/** Round trips of another session in which a count must stand still to have settled. */
const SETTLED_ROUND_TRIPS = 200;

/** A count that grows, once the relay has carried many round trips of another session without it. */
async function settled(bench: RelayBench, count: () => number): Promise<number> {
  const other = await bench.open();
  other.upstream.pipe(other.upstream);
  let last = -1;
  for (let trips = 0; trips < SETTLED_ROUND_TRIPS || last <= 0; trips += 1) {
    const answer = once(other.client.resume(), 'data');
    other.client.write('?');
    await answer;
    const now = count();
    if (now !== last) trips = 0;
    last = now;
  }
  other.client.end();
  await other.end;
  return last;
}

/** Descriptors of this process, minus the pipes that a relay keeps for the next session. */
function openDescriptors(relay: Relay): number {
  const { open } = 'pipes' in relay ? (relay as SpliceRelay).pipes : { open: 0 };
  return readdirSync('/proc/self/fd').length - 2 * open;
}

/** The cases for a splice relay; none on systems without splice(2). */
export function describeSpliceRelay(name: string, settings: Partial<typeof SPLICE>): void {
  if (!onLinux) return;
  const splice = { ...SPLICE, ...settings };
  describeRelay(name, (limits) =>
    createSpliceRelay(
      { ...limits, splice },
      { libc: loadLibc(), logger: createLogger('test', { level: 'silent' }) },
    ),
  );
}

/**
 * Tests that every relay has to pass. A file for each relay calls it, so that they run side by side: most of
 * the time goes to timers.
 */
export function describeRelay(name: string, create: (limits: RelayLimits) => Relay): void {
  describe(`the ${name} relay`, () => {
    let relay: Relay;
    let bench: RelayBench;
    const begin = async (limits: RelayLimits): Promise<void> => {
      relay = create(limits);
      await relay.start();
      // Without its threads it would pass every test as a stream: `npm run build` makes them.
      if ('threads' in relay) expect(relay.threads, name).toBeGreaterThan(0);
      bench = await createRelayBench(relay);
    };
    const startOver = async (limits: RelayLimits): Promise<void> => {
      await bench.stop();
      await relay.stop();
      await begin(limits);
    };
    beforeEach(() => begin(NEVER));
    afterEach(async () => {
      await bench.stop();
      await relay.stop();
    });

    it('carries bytes both ways and counts each', async () => {
      const { client, upstream, session, end } = await bench.open();
      client.write('question');
      expect(String((await once(upstream.resume(), 'data'))[0])).toBe('question');
      upstream.write('a longer answer');
      expect(String((await once(client.resume(), 'data'))[0])).toBe('a longer answer');
      client.end();
      upstream.end();
      expect(await end).toMatchObject({ errorCode: null });
      expect(session).toMatchObject({
        bytesSent: 8,
        bytesReceived: 15,
        packetsSent: 1,
        packetsReceived: 1,
      });
    });

    it('sends the head first and counts it', async () => {
      const { client, upstream, session, end } = await bench.open({ head: Buffer.from('head,') });
      const received = receiveAll(upstream);
      client.end('tail');
      expect((await received).bytes).toBe(9);
      upstream.end();
      await end;
      expect(session.bytesSent).toBe(9);
    });

    it('keeps data that either side sent before the relay began, and data that waits to be written', async () => {
      const { client, upstream, session, end } = await bench.open({
        beforeRun: ({ client: near, farClient, farUpstream }) => {
          near.write('reply');
          farClient.write('early');
          farUpstream.write('banner');
        },
      });
      const [atClient, atUpstream] = [receiveAll(client), receiveAll(upstream)];
      client.end();
      upstream.end();
      expect((await atUpstream).bytes).toBe(5);
      // The reply is the handshake's own and not counted.
      expect((await atClient).bytes).toBe(11);
      await end;
      expect(session).toMatchObject({ bytesSent: 5, bytesReceived: 6 });
    });

    it('keeps bytes that Node had already read from the upstream before the relay began', async () => {
      const { client, upstream, session, end } = await bench.open({
        beforeRun: ({ upstream: near }) => {
          near.unshift(Buffer.from('banner'));
        },
      });
      const atClient = receiveAll(client);
      upstream.end();
      expect((await atClient).bytes).toBe(6);
      client.end();
      await end;
      expect(session.bytesReceived).toBe(6);
    });

    it('continues to download after the client has ended its side', async () => {
      const { client, upstream, session, end } = await bench.open();
      const atUpstream = receiveAll(upstream);
      const atClient = receiveAll(client);
      client.end('request');
      expect(await atUpstream).toMatchObject({ bytes: 7, how: 'end' });
      const sha256 = await sendRandom(upstream, 3_000_000);
      upstream.end();
      expect(await atClient).toEqual({ bytes: 3_000_000, sha256, how: 'end' });
      expect(await end).toEqual({ reason: 'client_eof', errorCode: null });
      expect(session).toMatchObject({ bytesSent: 7, bytesReceived: 3_000_000 });
    });

    it('continues to upload after the destination has ended its side', async () => {
      const { client, upstream, session, end } = await bench.open();
      const atUpstream = receiveAll(upstream);
      const atClient = receiveAll(client);
      upstream.end('bye');
      expect(await atClient).toMatchObject({ bytes: 3, how: 'end' });
      const sha256 = await sendRandom(client, 3_000_000);
      client.end();
      expect(await atUpstream).toEqual({ bytes: 3_000_000, sha256, how: 'end' });
      expect(await end).toEqual({ reason: 'upstream_eof', errorCode: null });
      expect(session).toMatchObject({ bytesSent: 3_000_000, bytesReceived: 3 });
    });

    it('moves 64 MB each way at once without a changed byte', async () => {
      const { client, upstream, session, end } = await bench.open();
      const [atClient, atUpstream] = [receiveAll(client), receiveAll(upstream)];
      const [sent, received] = await Promise.all([
        sendRandom(client, 64_000_000).then((hash) => {
          client.end();
          return hash;
        }),
        sendRandom(upstream, 64_000_000).then((hash) => {
          upstream.end();
          return hash;
        }),
      ]);
      expect((await atUpstream).sha256).toBe(sent);
      expect((await atClient).sha256).toBe(received);
      expect((await end).errorCode).toBeNull();
      expect(session).toMatchObject({ bytesSent: 64_000_000, bytesReceived: 64_000_000 });
      expect(session.packetsSent).toBeGreaterThan(0);
    });

    it.each(['client', 'upstream'] as const)(
      'passes a reset by the %s on as a reset',
      async (side) => {
        const { client, upstream, session, end } = await bench.open();
        client.write('some bytes');
        await once(upstream.resume(), 'data');
        const other = receiveAll(side === 'client' ? upstream : client);
        (side === 'client' ? client : upstream).resetAndDestroy();
        expect(await end).toEqual({ reason: `${side}_reset`, errorCode: 'ECONNRESET' });
        expect((await other).how).toBe('ECONNRESET');
        expect(session.bytesSent).toBe(10);
      },
    );

    it.each(['client', 'upstream'] as const)(
      'calls a reset by the %s after the other side has ended a reset',
      async (side) => {
        const { client, upstream, end } = await bench.open();
        const [breaks, ends] = side === 'client' ? [client, upstream] : [upstream, client];
        const seen = receiveAll(breaks);
        ends.end();
        await seen;
        breaks.resetAndDestroy();
        expect(await end).toEqual({ reason: `${side}_reset`, errorCode: 'ECONNRESET' });
      },
    );

    it.each(['client', 'upstream'] as const)(
      'notices a reset by the %s while the other side does not read',
      async (side) => {
        const { client, upstream, session, end } = await bench.open();
        const breaks = side === 'client' ? client : upstream;
        void sendRandom(breaks, 50_000_000).catch(() => undefined);
        const before = await settled(bench, () => {
          live(session);
          return session.bytesSent + session.bytesReceived;
        });
        breaks.resetAndDestroy();
        expect(await end).toEqual({ reason: `${side}_reset`, errorCode: 'ECONNRESET' });
        expect(session.bytesSent + session.bytesReceived).toBe(before);
      },
      10_000,
    );

    it.runIf(onLinux)('has the kernel ask a quiet client and destination for life', async () => {
      await startOver({ ...NEVER, keepalive_ms: 60_000 });
      const probes: SocketProbe[] = [];
      const { client, upstream } = await bench.open({
        beforeRun: (pair) => {
          probes.push(probeKeepalive(pair.client), probeKeepalive(pair.upstream));
        },
      });
      upstream.resume();
      client.write(Buffer.alloc(200_000));
      expect(probes.map((probe) => probe.isSet())).toEqual([false, false]);
      await until(() => probes.every((probe) => probe.isSet()));
      for (const probe of probes) probe.close();
    });

    it('delivers a whole answer when the destination closes in the middle of an upload', async () => {
      const { client, upstream, session, end } = await bench.open();
      const atClient = receiveAll(client);
      client.write(Buffer.alloc(200_000));
      await once(upstream.resume(), 'data');
      upstream.pause();
      // Ended in order, and then closed with unread bytes: its kernel answers RST.
      upstream.end('refused');
      expect(await atClient).toMatchObject({ bytes: 7, how: 'end' });
      upstream.destroy();
      let ended = false;
      void end.then(() => {
        ended = true;
      });
      // More than all buffers on the way can hold: the relay continues and drops it.
      await sendRandom(client, 30_000_000);
      expect(ended).toBe(false);
      client.end();
      const result = await end;
      expect(result.reason).toBe('upstream_eof');
      expect(result.errorCode).toMatch(/^(EPIPE|ECONNRESET)$/);
      expect(session.bytesReceived).toBe(7);
    });

    it('ends a session in which nothing moves', async () => {
      await startOver({ ...NEVER, idle_timeout_ms: 80, half_close_linger_ms: 0 });
      const { client, upstream, end } = await bench.open();
      const [atClient, atUpstream] = [receiveAll(client), receiveAll(upstream)];
      expect(await end).toEqual({ reason: 'idle_timeout', errorCode: null });
      expect((await atClient).how).toBe('ECONNRESET');
      expect((await atUpstream).how).toBe('ECONNRESET');
    });

    it('keeps a session alive while bytes move, in one direction too', async () => {
      await startOver({ ...NEVER, idle_timeout_ms: 2_000, half_close_linger_ms: 0 });
      const { client, upstream, session, end } = await bench.open();
      upstream.resume();
      const startedMs = performance.now();
      const feed = setInterval(() => client.write('x'), 40);
      await until(() => live(session).bytesSent >= 60);
      clearInterval(feed);
      expect(performance.now() - startedMs).toBeGreaterThan(2_200);
      expect((await end).reason).toBe('idle_timeout');
    });

    it('bounds a half-closed session that is quiet, but not one with traffic', async () => {
      await startOver({ ...NEVER, idle_timeout_ms: 0, half_close_linger_ms: 2_000 });
      const { client, upstream, session, end } = await bench.open();
      upstream.resume();
      client.resume();
      client.end();
      const startedMs = performance.now();
      const feed = setInterval(() => upstream.write('x'), 40);
      await until(() => live(session).bytesReceived >= 60);
      clearInterval(feed);
      expect(performance.now() - startedMs).toBeGreaterThan(2_200);
      expect(await end).toEqual({ reason: 'half_close_timeout', errorCode: null });
    });

    it('does not take the idle timeout for a half-closed session to begin with', async () => {
      await startOver({ ...NEVER, idle_timeout_ms: 5_000, half_close_linger_ms: 80 });
      const { client, upstream, end } = await bench.open();
      upstream.resume();
      client.end();
      expect((await end).reason).toBe('half_close_timeout');
    });

    it('terminates when asked, with the reason given', async () => {
      const { client, upstream, session, end } = await bench.open();
      const [atClient, atUpstream] = [receiveAll(client), receiveAll(upstream)];
      client.write('abc');
      await until(() => live(session).bytesSent === 3);
      session.terminate?.('acl_revoked', null);
      expect(await end).toEqual({ reason: 'acl_revoked', errorCode: null });
      expect((await atClient).how).toBe('ECONNRESET');
      expect(await atUpstream).toMatchObject({ bytes: 3 });
      expect(session).toMatchObject({ bytesSent: 3, terminate: null });
    });

    it('terminates a session whose receiver takes nothing', async () => {
      const { client, session, end } = await bench.open();
      void sendRandom(client, 50_000_000).catch(() => undefined);
      await until(() => live(session).bytesSent > 100_000);
      session.terminate?.('server_shutdown', null);
      expect((await end).reason).toBe('server_shutdown');
    });

    it('stops reading from a sender whose receiver takes nothing, and loses nothing', async () => {
      const { client, upstream, session, end } = await bench.open();
      const total = 40_000_000;
      const sending = sendRandom(client, total);
      const handed = await settled(bench, () => client.bytesWritten - client.writableLength);
      // Only the kernel's buffers and one buffer of the relay hold data.
      expect(handed).toBeLessThan(total / 2);
      const atUpstream = receiveAll(upstream);
      const sha256 = await sending;
      client.end();
      expect(await atUpstream).toEqual({ bytes: total, sha256, how: 'end' });
      upstream.end();
      await end;
      expect(session.bytesSent).toBe(total);
    });

    it('counts only bytes that the receiving side took when a session breaks', async () => {
      const { client, upstream, session, end } = await bench.open();
      void sendRandom(client, 50_000_000).catch(() => undefined);
      const before = await settled(bench, () => live(session).bytesSent);
      session.terminate?.('server_shutdown', null);
      await end;
      expect(session.bytesSent).toBe(before);
      upstream.destroy();
    });

    it('shows counters that grow while a transfer runs', async () => {
      const { client, upstream, session, end } = await bench.open();
      client.resume();
      upstream.write(Buffer.alloc(1_000_000));
      await until(() => live(session).bytesReceived === 1_000_000);
      upstream.write(Buffer.alloc(500_000));
      await until(() => live(session).bytesReceived === 1_500_000);
      client.end();
      upstream.end();
      await end;
      expect(session.bytesReceived).toBe(1_500_000);
    });

    it('moves bytes again after both directions were quiet for several sweeps', async () => {
      await startOver({ ...NEVER, idle_timeout_ms: 0, half_close_linger_ms: 200 });
      const { client, upstream, session, end } = await bench.open();
      const [atClient, atUpstream] = [receiveAll(client), receiveAll(upstream)];
      const [up, down] = [randomBytes(1_000_000), randomBytes(1_000_000)];
      client.write(up);
      upstream.write(down);
      await until(
        () => live(session).bytesReceived === down.length && session.bytesSent === up.length,
      );
      // The sweep ends another session that was quiet for as long.
      const other = await bench.open();
      other.client.end();
      expect((await other.end).reason).toBe('half_close_timeout');
      client.end('more');
      upstream.end('less');
      const expected = (bytes: Buffer, rest: string) => ({
        bytes: bytes.length + rest.length,
        sha256: createHash('sha256').update(bytes).update(rest).digest('hex'),
        how: 'end',
      });
      expect(await atUpstream).toEqual(expected(up, 'more'));
      expect(await atClient).toEqual(expected(down, 'less'));
      await end;
    });

    describe.runIf(onLinux)('when a sender marks a byte as urgent', () => {
      const MSG_OOB = 0x1;
      const [SO_SNDBUF, SO_RCVBUF] = [7, 8];
      let libc: Libc;
      beforeAll(() => {
        libc = loadLibc();
      });
      const fdOf = (socket: Socket): number => handleOf(socket)?.fd ?? -1;
      /** Sends at once, without Node, which knows no urgent bytes. */
      const send = (socket: Socket, bytes: Buffer, flags = 0): void => {
        const sent = libc.send(fdOf(socket), libc.addressOf(bytes), bytes.length, flags);
        expect(sent).toBe(bytes.length);
      };
      const limit = (socket: Socket, option: number): void => {
        const bytes = new Int32Array([16_384]);
        libc.setsockopt(fdOf(socket), LINUX.SOL_SOCKET, option, libc.addressOf(bytes), 4);
      };

      it.each(['and ends', 'and continues'])(
        'in the middle of a transfer %s, delivers all others',
        async (then) => {
          const { client, upstream, session, end } = await bench.open({
            beforeRun: (pair) => {
              limit(pair.upstream, SO_SNDBUF);
              limit(pair.farUpstream, SO_RCVBUF);
            },
          });
          const all = randomBytes(720_000);
          const received = receiveAll(upstream);
          client.write(all.subarray(0, 300_000));
          await until(() => live(session).bytesSent === 300_000);
          // The relay has more than it can give away, so that the mark waits for it, with all behind it.
          upstream.pause();
          client.write(all.subarray(300_000, 700_000));
          await settled(bench, () => live(session).bytesSent);
          await until(() => client.writableLength === 0);
          send(client, Buffer.from('!'), MSG_OOB);
          send(client, all.subarray(700_000));
          if (then === 'and ends') await new Promise<void>((done) => client.end(done));
          upstream.resume();
          await until(() => live(session).bytesSent === all.length);
          client.end();
          const sha256 = createHash('sha256').update(all).digest('hex');
          expect(await received).toEqual({ bytes: all.length, sha256, how: 'end' });
          upstream.end();
          expect(await end).toEqual({ reason: 'client_eof', errorCode: null });
        },
      );

      it('again and again between little, delivers all others', async () => {
        const { client, upstream, session, end } = await bench.open();
        const received = receiveAll(upstream);
        client.write(Buffer.alloc(100_000));
        let sent = 100_000;
        await until(() => live(session).bytesSent === sent);
        const [before, behind] = [Buffer.alloc(100), Buffer.alloc(50)];
        for (let round = 0; round < 100; round += 1) {
          send(client, before);
          send(client, Buffer.from('!'), MSG_OOB);
          send(client, behind);
          sent += 150;
          await until(() => live(session).bytesSent === sent);
        }
        client.end();
        expect(await received).toMatchObject({ bytes: sent, how: 'end' });
        upstream.end();
        await end;
      });
    });

    it('survives hundreds of sessions that end in every way, and leaks no descriptor', async () => {
      const warm = await bench.open();
      warm.client.end();
      warm.upstream.end();
      await warm.end;
      const before = onLinux ? openDescriptors(relay) : 0;
      const one = async (n: number): Promise<void> => {
        const { client, upstream, session, end } = await bench.open();
        const sizes = [1, 100, 20_000, 300_000];
        const size = sizes[n % sizes.length] ?? 1;
        if (n % 5 === 0) {
          client.resetAndDestroy();
          await end;
          upstream.destroy();
          return;
        }
        if (n % 7 === 0) {
          session.terminate?.('server_shutdown', null);
          expect((await end).reason).toBe('server_shutdown');
          client.destroy();
          upstream.destroy();
          return;
        }
        const [atClient, atUpstream] = [receiveAll(client), receiveAll(upstream)];
        const [sent] = await Promise.all([sendRandom(client, size), sendRandom(upstream, size)]);
        client.end();
        upstream.end();
        expect((await atUpstream).sha256).toBe(sent);
        expect((await atClient).bytes).toBe(size);
        expect((await end).errorCode).toBeNull();
        expect(session).toMatchObject({ bytesSent: size, bytesReceived: size });
      };
      const lanes = 24;
      await Promise.all(
        Array.from({ length: lanes }, async (_, lane) => {
          for (let n = lane; n < 1_200; n += lanes) await one(n);
        }),
      );
      if (onLinux) await until(() => openDescriptors(relay) <= before);
    }, 120_000);
  });
}
