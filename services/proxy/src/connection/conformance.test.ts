import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { converse, DIALOGUES, startWorld } from '../testing/dialogues.js';
import type { Dialogue, Result, World } from '../testing/dialogues.js';

const FAILURES = 'sockscope_proxy_handshake_failures_total';

describe('SOCKS5', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(async () => {
    await world.stop();
  });

  function expectResult(dialogue: Dialogue, result: Result): void {
    expect(result.received).toMatch(new RegExp(`^${dialogue.receive}$`));
    if (dialogue.session === null) expect(result.sessions).toEqual([]);
    else {
      expect(result.sessions).toHaveLength(1);
      expect(result.sessions[0]).toMatchObject(dialogue.session);
    }
  }

  it.each(DIALOGUES)('$policy: $name', async (dialogue) => {
    const proxy = world.proxies[dialogue.policy];
    const kind = { kind: dialogue.failure ?? '' };
    const before = await proxy.metric(FAILURES, kind);
    const result = await converse(proxy, [dialogue.send(world)]);
    expectResult(dialogue, result);
    const counted = (await proxy.metric(FAILURES, kind)) - before;
    expect(counted).toBe(dialogue.failure === undefined ? 0 : 1);
  });

  it('gives the same result for every way to cut a dialogue into segments', async () => {
    const cases = fc.record({
      dialogue: fc.constantFrom(...DIALOGUES),
      cuts: fc.array(fc.nat(600), { maxLength: 12 }),
    });
    const property = fc.asyncProperty(cases, async ({ dialogue, cuts }) => {
      const bytes = dialogue.send(world);
      const result = await converse(world.proxies[dialogue.policy], cutAt(bytes, cuts));
      expectResult(dialogue, result);
    });
    await expect(fc.assert(property, { numRuns: 200 })).resolves.toBeUndefined();
  }, 60_000);

  it.each(DIALOGUES)('$policy: $name, byte by byte', async (dialogue) => {
    const pieces = [...dialogue.send(world)].map((byte) => Buffer.from([byte]));
    const result = await converse(world.proxies[dialogue.policy], pieces);
    expect(result.received).toMatch(new RegExp(`^${dialogue.receive}$`));
    expectResult(dialogue, result);
  });
});

function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % bytes.length))].toSorted((a, b) => a - b);
  return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
}
