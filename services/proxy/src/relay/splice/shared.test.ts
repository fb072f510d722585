import { describe, expect, it } from 'vitest';
import {
  awake,
  COMMAND,
  createSharedMemory,
  mustNotify,
  OUTCOME,
  prepareToSleep,
  putCommand,
  putEnd,
  takeCommands,
  takeEnds,
} from './shared.js';

describe('the memory that the threads share', () => {
  it('hands commands over in order, many times around the ring', () => {
    const memory = createSharedMemory();
    let next = 0;
    for (let round = 0; round < 400; round++) {
      const batch = 1 + ((round * 977) % 1_000);
      for (let n = 0; n < batch; n++)
        putCommand(memory, COMMAND.open, next + n, { client: 7, upstream: 8 });
      takeCommands(memory, (command, slot, clientFd, upstreamFd) => {
        expect([command, slot, clientFd, upstreamFd]).toEqual([COMMAND.open, next, 7, 8]);
        next += 1;
      });
    }
    expect(next).toBeGreaterThan(131_072);
  });

  it('continues if the counts of a ring wrap to negative', () => {
    const memory = createSharedMemory();
    // Commands written and read so far, as after two thousand million of them.
    memory.control[0] = 0x7fffffff;
    memory.control[1] = 0x7fffffff;
    const seen: number[] = [];
    for (let slot = 0; slot < 4; slot++)
      putCommand(memory, COMMAND.open, slot, { client: 1, upstream: 2 });
    takeCommands(memory, (_command, slot) => seen.push(slot));
    expect(seen).toEqual([0, 1, 2, 3]);
  });

  it('requests one wake-up of a sleeping thread, and none of a running one', () => {
    const memory = createSharedMemory();
    expect(putCommand(memory, COMMAND.open, 0, { client: 1, upstream: 2 })).toBe(false);
    expect(prepareToSleep(memory)).toBe(false);
    takeCommands(memory, () => undefined);
    expect(prepareToSleep(memory)).toBe(true);
    expect(putCommand(memory, COMMAND.open, 1, { client: 1, upstream: 2 })).toBe(true);
    expect(putCommand(memory, COMMAND.open, 2, { client: 1, upstream: 2 })).toBe(false);
    awake(memory);
    expect(putCommand(memory, COMMAND.open, 3, { client: 1, upstream: 2 })).toBe(false);
  });

  it('reports ends once until they are taken', () => {
    const memory = createSharedMemory();
    expect(mustNotify(memory)).toBe(false);
    putEnd(memory, 5, OUTCOME.client_reset, 104);
    expect(mustNotify(memory)).toBe(true);
    putEnd(memory, 6, OUTCOME.client_eof, 0);
    expect(mustNotify(memory)).toBe(false);
    const seen: number[][] = [];
    takeEnds(memory, (...end) => seen.push(end));
    expect(seen).toEqual([
      [5, OUTCOME.client_reset, 104],
      [6, OUTCOME.client_eof, 0],
    ]);
    putEnd(memory, 5, OUTCOME.upstream_eof, 0);
    expect(mustNotify(memory)).toBe(true);
  });
});
