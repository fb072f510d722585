import { createSocket } from 'node:dgram';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { sessionEvent } from '@sockscope/schemas';
import { afterEach, describe, expect, it } from 'vitest';
import { DIALOGUES, startWorld } from '../testing/dialogues.js';
import type { World } from '../testing/dialogues.js';
import { bytesOf, GREETING, requestFor, TestClient, waitFor } from '../testing/harness.js';
import type { Harness } from '../testing/harness.js';

/** `SOCKSCOPE_FUZZ_RUNS=200000` is the long version; `SOCKSCOPE_FUZZ_SEED` repeats a run. */
const RUNS = Number(process.env['SOCKSCOPE_FUZZ_RUNS'] ?? 600);
const SEED = Number(process.env['SOCKSCOPE_FUZZ_SEED'] ?? Date.now() % 2 ** 31);
const AT_ONCE = 16;
/** Every wait of the proxy is short here, so that a client that stays silent ends soon. */
const SHORT_MS = 150;

/** mulberry32: small, fast, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Chooser {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomFrom(seed);
  }

  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  of<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('nothing to choose from');
    return item;
  }
}

/** Bytes that were once a dialogue, or never were. */
function hostileBytes(choose: Chooser, world: World): Buffer {
  if (choose.below(5) === 0) return choose.bytes(choose.below(700));
  const base = choose.of([
    ...DIALOGUES.map((dialogue) => dialogue.send(world)),
    bytesOf(GREETING, requestFor('0.0.0.0', 0, 2)),
    bytesOf(GREETING, requestFor('0.0.0.0', 0, 3)),
  ]);
  const bytes = Buffer.from(base);
  for (let i = choose.below(4); i > 0; i -= 1) {
    if (bytes.length > 0) bytes[choose.below(bytes.length)] = choose.below(256);
  }
  const at = choose.below(bytes.length + 1);
  switch (choose.below(6)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([
        bytes.subarray(0, at),
        choose.bytes(choose.below(20)),
        bytes.subarray(at),
      ]);
    case 2:
      return Buffer.concat([bytes, bytes]);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(choose.below(bytes.length + 1))]);
    default:
      return bytes;
  }
}

/** One hostile client, from its connection to the last socket of it being gone. */
async function attack(proxy: Harness, choose: Chooser, bytes: Buffer): Promise<void> {
  const socket = connect({ ...proxy.address, allowHalfOpen: true, noDelay: true });
  socket.on('error', () => undefined);
  socket.resume();
  const closed = new Promise((resolve) => {
    socket.once('close', resolve);
  });
  for (let at = 0; at < bytes.length && !socket.destroyed;) {
    const end = at + 1 + choose.below(choose.of([1, 3, bytes.length]));
    socket.write(bytes.subarray(at, end));
    at = end;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
  switch (choose.below(4)) {
    case 0:
      socket.resetAndDestroy();
      break;
    case 1:
      socket.destroy();
      break;
    case 2:
      socket.end();
      break;
    default:
      // Silence: the proxy must end this.
      if (socket.readableEnded) socket.end();
      else socket.once('end', () => socket.end());
  }
  await closed;
}

function openDescriptors(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
}

describe('hostile clients', () => {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    await Promise.all(cleanups.splice(0).map((cleanup) => cleanup()));
  });

  async function world(): Promise<World> {
    const made = await startWorld({
      limits: { handshake_timeout_ms: SHORT_MS, reply_linger_ms: SHORT_MS },
      dial: { connect_timeout_ms: SHORT_MS },
      dns: { timeout_ms: SHORT_MS },
      bind: { enabled: true, timeout_ms: SHORT_MS },
      udp: { enabled: true, association_idle_timeout_ms: SHORT_MS, idle_timeout_ms: SHORT_MS },
      idle_timeout_ms: SHORT_MS,
      loopbackOnly: true,
    });
    cleanups.push(() => made.stop());
    return made;
  }

  it(
    `do not crash, hang or leak (seed ${SEED}, ${RUNS} clients)`,
    async () => {
      const w = await world();
      const choose = new Chooser(SEED);
      const before = openDescriptors();
      const proxies = Object.values(w.proxies);
      for (let done = 0; done < RUNS; done += AT_ONCE) {
        const attacks = Array.from({ length: AT_ONCE }, () =>
          attack(choose.of(proxies), choose, hostileBytes(choose, w)),
        );
        await Promise.all(attacks);
      }
      for (const proxy of proxies) {
        await proxy.idle();
        const started = new Set(proxy.started().map((event) => event.session_id));
        const closed = proxy.closed().map((event) => event.session_id);
        expect(new Set(closed)).toEqual(started);
        expect(closed).toHaveLength(started.size);
        for (const event of proxy.events)
          expect(sessionEvent.safeParse(event).error).toBeUndefined();
        expect(await proxy.metric('sockscope_proxy_handshakes')).toBe(0);
        expect(await proxy.metric('sockscope_proxy_udp_associations')).toBe(0);
      }
      await waitFor(
        () => w.echo.sockets.size + w.echo6.sockets.size === 0,
        'no upstream connection',
      );
      await waitFor(() => openDescriptors() <= before, 'every descriptor to be closed');
    },
    Math.max(60_000, RUNS * 200),
  );

  it(
    `do not crash the UDP relay with datagrams (seed ${SEED})`,
    async () => {
      const w = await world();
      const choose = new Chooser(SEED);
      const proxy = w.proxies.none;
      const control = await TestClient.connect(proxy.address);
      cleanups.push(() => {
        control.destroy();
      });
      control.send(GREETING, requestFor('0.0.0.0', 0, 3));
      const port = (await control.read(12)).readUInt16BE(10);
      const socket = createSocket('udp4');
      cleanups.push(() => {
        socket.close();
      });
      const valid = bytesOf(0, 0, 0, 1, 127, 0, 0, 1, w.echo.port >> 8, w.echo.port & 255, 'x');
      for (let i = 0; i < RUNS; i += 1) {
        const datagram =
          choose.below(3) === 0 ? choose.bytes(choose.below(64)) : Buffer.from(valid);
        for (let flips = choose.below(3); flips > 0 && datagram.length > 0; flips -= 1) {
          datagram[choose.below(datagram.length)] = choose.below(256);
        }
        // One at a time: a full socket buffer would lose them before the proxy sees them.
        await new Promise((resolve) => {
          socket.send(datagram, port, '127.0.0.1', resolve);
        });
      }
      control.destroy();
      await proxy.idle();
      expect(proxy.closed()).toHaveLength(proxy.started().length);
      for (const event of proxy.events) expect(sessionEvent.safeParse(event).error).toBeUndefined();
    },
    Math.max(60_000, RUNS * 20),
  );
});
