import { afterEach, describe, expect, it } from 'vitest';
import { GREETING, requestFor, startEcho, startHarness, TestClient } from './testing/harness.js';
import type { Harness, HarnessOptions, TestServer } from './testing/harness.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) {
    // In order: what was started last may use what was started first.
    // oxlint-disable-next-line no-await-in-loop
    await cleanup();
  }
});

async function harness(options?: HarnessOptions): Promise<Harness> {
  const made = await startHarness(options);
  cleanups.push(() => made.stop());
  return made;
}

async function echo(host?: string): Promise<TestServer> {
  const made = await startEcho(host);
  cleanups.push(() => made.stop());
  return made;
}

async function client(proxy: Harness): Promise<TestClient> {
  const made = await TestClient.connect(proxy.address);
  cleanups.push(() => {
    made.destroy();
  });
  return made;
}

describe('CONNECT', () => {
  it('reaches an IPv4 destination, counts every byte and tells how it ended', async () => {
    const proxy = await harness();
    const origin = await echo();
    const c = await client(proxy);
    c.send(GREETING);
    expect([...(await c.read(2))]).toEqual([5, 0]);
    c.send(requestFor('127.0.0.1', origin.port));
    const reply = await c.read(10);
    expect([...reply.subarray(0, 8)]).toEqual([5, 0, 0, 1, 127, 0, 0, 1]);
    expect(reply.readUInt16BE(8)).toBe([...origin.sockets][0]?.remotePort);
    c.send('hello');
    expect((await c.read(5)).toString()).toBe('hello');
    c.socket.end();
    await c.readAll();
    const [closed] = await proxy.waitClosed();
    expect(closed).toMatchObject({
      user: 'anonymous',
      source_ip: '127.0.0.1',
      dest_host: '127.0.0.1',
      dest_ip: '127.0.0.1',
      dest_port: origin.port,
      bytes_sent: 5,
      bytes_received: 5,
      status: 'closed',
      close_reason: 'client_eof',
      error_code: null,
      acl_decision: 'allow',
    });
    expect(closed?.connect_ms).toBeGreaterThanOrEqual(0);
  });
});
