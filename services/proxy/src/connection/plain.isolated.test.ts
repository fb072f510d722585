import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { converse, DIALOGUES, startWorld } from '../testing/dialogues.js';
import type { World } from '../testing/dialogues.js';

// A Node.js that hides its handles: sockets come as `node:net` makes them.
vi.mock(import('../tcp/socket.js'), async (original) => ({
  ...(await original()),
  acceptAsTaps: () => false,
}));

describe('SOCKS5 over plain sockets', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(async () => {
    await world.stop();
  });

  it.each(DIALOGUES)('$policy: $name', async ({ policy, send, receive, session }) => {
    const bytes = send(world);
    for (const pieces of [[bytes], [...bytes].map((byte) => Buffer.from([byte]))]) {
      const result = await converse(world.proxies[policy], pieces);
      expect(result.received).toMatch(new RegExp(`^${receive}$`));
      expect(result.sessions).toHaveLength(session === null ? 0 : 1);
      if (session !== null) expect(result.sessions[0]).toMatchObject(session);
    }
  });
});
