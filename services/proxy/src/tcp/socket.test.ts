import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { waitFor } from '../testing/harness.js';
import { probeNoDelay } from '../testing/socket-probe.js';
import { acceptAsTaps, TapSocket } from './socket.js';

describe('a tap socket', () => {
  let server: Server;
  let client: Socket;
  let accepted: TapSocket;
  let taps: TapSocket[] = [];
  beforeEach(async () => {
    const plain: Socket[] = [];
    taps = [];
    server = createServer({ allowHalfOpen: true }, (socket) => plain.push(socket));
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    if (!acceptAsTaps(server, (socket) => taps.push(socket))) throw new Error('plain sockets');
    client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await waitFor(() => taps.length === 1, 'an accepted socket');
    const [tap] = taps;
    if (tap === undefined || plain.length > 0) throw new TypeError('not accepted as a tap socket');
    accepted = tap;
  });
  afterEach(() => {
    client.destroy();
    for (const tap of taps) tap.destroy();
    server.close();
  });

  function gather(): Buffer[] {
    const chunks: Buffer[] = [];
    accepted.reader = {
      onBytes(bytes) {
        chunks.push(Buffer.from(bytes));
        return true;
      },
    };
    return chunks;
  }

  it('passes every read to its reader', async () => {
    const chunks = gather();
    client.write('hello');
    await waitFor(() => chunks.length > 0, 'a read');
    expect(Buffer.concat(chunks).toString()).toBe('hello');
  });

  it('keeps data that arrives between two readers, also in flowing mode', async () => {
    accepted.resume();
    client.write('kept');
    await waitFor(() => accepted.readableLength === 4, 'the bytes to wait');
    const kept: unknown = accepted.read();
    expect(String(kept)).toBe('kept');
    const chunks = gather();
    client.write('next');
    accepted.resume();
    await waitFor(() => chunks.length > 0, 'a read');
    expect(Buffer.concat(chunks).toString()).toBe('next');
  });

  it('stops reading when its reader pauses it, and continues with resume', async () => {
    const chunks: string[] = [];
    accepted.reader = {
      onBytes(bytes) {
        chunks.push(bytes.toString());
        return false;
      },
    };
    client.write('one');
    await waitFor(() => chunks.length === 1, 'the first read');
    await new Promise((resolve) => client.write('two', resolve));
    // Once the bytes of a later client have been read, so have these.
    const other = connect((server.address() as AddressInfo).port, '127.0.0.1');
    other.write('later');
    await waitFor(() => taps.length === 2 && taps[1]?.readableLength === 5, 'the later bytes');
    other.destroy();
    expect(chunks).toEqual(['one']);
    accepted.resume();
    await waitFor(() => chunks.length === 2, 'the second read');
    expect(chunks).toEqual(['one', 'two']);
  });

  it('reports its end, and keeps its own side open', async () => {
    let hasEnded = false;
    accepted.once('end', () => {
      hasEnded = true;
    });
    client.end();
    await waitFor(() => hasEnded, 'the end');
    expect(accepted.writable).toBe(true);
  });

  it.runIf(process.platform === 'linux')('sends small writes at once', () => {
    const noDelay = probeNoDelay(accepted);
    expect(noDelay.isSet()).toBe(true);
    noDelay.close();
  });

  it('is not made if a server has no handle to sit between', () => {
    expect(acceptAsTaps(createServer(), () => undefined)).toBe(false);
  });
});
