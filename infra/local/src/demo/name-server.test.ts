import { Resolver } from 'node:dns/promises';
import { expect, test } from 'vitest';
import { startNameServer } from './name-server.js';

test('the name server of the demo answers that no name exists', async () => {
  const server = await startNameServer();
  const resolver = new Resolver();
  resolver.setServers([server.address]);
  try {
    await expect(resolver.resolve4('intranet2.corp.example')).rejects.toMatchObject({
      code: 'ENOTFOUND',
    });
  } finally {
    resolver.cancel();
    await server.stop();
  }
});
