import { Registry } from '@sockscope/runtime';
import { describe, expect, it } from 'vitest';
import { createGate, createGateMetrics } from './gate.js';
import type { GateConfig } from './gate.js';

function gateOf(config: Partial<GateConfig> = {}) {
  return createGate(
    { name: 'light', running_max: 2, waiting_max: 2, wait_max_ms: 60_000, ...config },
    createGateMetrics(new Registry()),
  );
}

const never = new AbortController().signal;
const settled = async (promise: Promise<unknown>) => {
  let state = 'waiting';
  promise.then(
    () => {
      state = 'in';
    },
    () => {
      state = 'refused';
    },
  );
  await new Promise<void>((resolve) => {
    setImmediate(resolve);
  });
  return state;
};

describe('gate', () => {
  it('lets so many in at once, the next wait, the rest are refused with Retry-After', async () => {
    const gate = gateOf();
    const entries = [1, 2, 3, 4].map(() => gate.enter(never));
    expect(await Promise.all(entries.map(settled))).toEqual(['in', 'in', 'waiting', 'waiting']);
    await expect(gate.enter(never)).rejects.toMatchObject({
      code: 'overloaded',
      retryAfterSeconds: 1,
    });
    const leave = await entries[0];
    leave?.();
    expect(await Promise.all(entries.map(settled))).toEqual(['in', 'in', 'in', 'waiting']);
  });

  it('gives a place to one only, however often it is given back', async () => {
    const gate = gateOf({ running_max: 1 });
    const leave = await gate.enter(never);
    const second = gate.enter(never);
    const third = gate.enter(never);
    leave();
    leave();
    expect([await settled(second), await settled(third)]).toEqual(['in', 'waiting']);
  });

  it('gives the place back when the work fails', async () => {
    const gate = gateOf({ running_max: 1, waiting_max: 0 });
    await expect(gate.pass(never, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await gate.pass(never, async () => 7)).toBe(7);
  });

  it('lets nobody wait longer than allowed', async () => {
    const gate = gateOf({ running_max: 1, wait_max_ms: 5 });
    await gate.enter(never);
    await expect(gate.enter(never)).rejects.toMatchObject({ code: 'overloaded' });
  });

  it('forgets who goes away while waiting', async () => {
    const gate = gateOf({ running_max: 1 });
    const leave = await gate.enter(never);
    const gone = new AbortController();
    const waiting = gate.enter(gone.signal);
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'overloaded' });
    leave();
    expect(await settled(gate.enter(never))).toBe('in');
  });
});
