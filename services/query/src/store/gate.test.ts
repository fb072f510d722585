import { Registry } from '@sockscope/runtime';
import { describe, expect, it, vi } from 'vitest';
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
  it('admits a limited number at once, lets the next wait, and refuses the rest with Retry-After', async () => {
    const gate = gateOf();
    const entries = [1, 2, 3, 4].map(() => gate.enter({ signal: never }));
    expect(await Promise.all(entries.map(settled))).toEqual(['in', 'in', 'waiting', 'waiting']);
    await expect(gate.enter({ signal: never })).rejects.toMatchObject({
      code: 'overloaded',
      retryAfterSeconds: 1,
    });
    const leave = await entries[0];
    leave?.();
    expect(await Promise.all(entries.map(settled))).toEqual(['in', 'in', 'in', 'waiting']);
  });

  it('gives a place to one request only, even if it is released several times', async () => {
    const gate = gateOf({ running_max: 1 });
    const leave = await gate.enter({ signal: never });
    const second = gate.enter({ signal: never });
    const third = gate.enter({ signal: never });
    leave();
    leave();
    expect([await settled(second), await settled(third)]).toEqual(['in', 'waiting']);
  });

  it('counts the wait from the arrival of the request, whatever gates it waited at before', async () => {
    const gate = gateOf({ running_max: 1, wait_max_ms: 1_000 });
    const arrivedMs = performance.now() - 1_000;
    const leave = await gate.enter({ signal: never, arrivedMs });
    await expect(gate.enter({ signal: never, arrivedMs })).rejects.toMatchObject({
      code: 'overloaded',
      retryAfterSeconds: 1,
    });
    leave();
    expect(await settled(gate.enter({ signal: never, arrivedMs }))).toBe('in');
  });

  it('lets what was let in before wait once more after the longest wait, and no longer', async () => {
    const gate = gateOf({ running_max: 1, waiting_max: 0, wait_max_ms: 1_000 });
    const leave = await gate.enter({ signal: never });
    const inside = (waitedMs: number) =>
      gate.enter({ signal: never, isInside: true, arrivedMs: performance.now() - waitedMs });
    const [early, late] = [inside(0), inside(1_000)];
    expect(await Promise.all([early, late].map(settled))).toEqual(['refused', 'waiting']);
    leave();
    expect(await settled(late)).toBe('in');
    const short = gateOf({ running_max: 0, waiting_max: 0, wait_max_ms: 20 });
    const entered = short.enter({
      signal: never,
      isInside: true,
      arrivedMs: performance.now() - 20,
    });
    await expect(entered).rejects.toMatchObject({ code: 'overloaded' });
  });

  it('gives the place back when the work fails', async () => {
    const gate = gateOf({ running_max: 1, waiting_max: 0 });
    await expect(
      gate.pass({ signal: never }, () => Promise.reject(new Error('no'))),
    ).rejects.toThrow('no');
    expect(await gate.pass({ signal: never }, async () => 7)).toBe(7);
  });

  it('refuses at once what would wait too long, once the line shows its pace', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    try {
      const gate = gateOf({ running_max: 1, waiting_max: 1_000, wait_max_ms: 1_000 });
      const join = () => {
        const state = { now: 'waiting', leave: () => {} };
        gate.enter({ signal: never }).then(
          (leave) => Object.assign(state, { now: 'in', leave }),
          () => Object.assign(state, { now: 'refused' }),
        );
        return state;
      };
      const turn = () => vi.advanceTimersByTimeAsync(0);
      const all = Array.from({ length: 22 }, join);
      await turn();
      // Ten requests, each 50 milliseconds: twelve in six tenths of a second.
      for (const each of all.slice(0, 10)) {
        await vi.advanceTimersByTimeAsync(50);
        each.leave();
        await turn();
      }
      expect(all.map(({ now }) => now)).not.toContain('refused');
      expect(() => {
        gate.check({});
      }).not.toThrow();
      all.push(join());
      await turn();
      // Twelve wait before the next one.
      expect(() => {
        gate.check({});
      }).toThrow('busy');
      const late = join();
      await turn();
      expect(late.now).toBe('refused');
    } finally {
      vi.useRealTimers();
    }
  });

  it('refuses at once while the line has not moved for the longest wait', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    try {
      const gate = gateOf({ running_max: 1, waiting_max: 100, wait_max_ms: 1_000 });
      const first = await gate.enter({ signal: never });
      const old = gate.enter({ signal: never });
      old.catch(() => undefined);
      await vi.advanceTimersByTimeAsync(500);
      const young = gate.enter({ signal: never });
      expect(await settled(young)).toBe('waiting');
      await vi.advanceTimersByTimeAsync(600);
      expect(await settled(old)).toBe('refused');
      expect(await settled(gate.enter({ signal: never }))).toBe('refused');
      first();
      expect(await settled(young)).toBe('in');
      expect(await settled(gate.enter({ signal: never }))).toBe('waiting');
    } finally {
      vi.useRealTimers();
    }
  });

  it('has a short line while its pace is unknown, so that few are refused at once after the longest wait', async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
    try {
      const gate = gateOf({ running_max: 8, waiting_max: 1_000, wait_max_ms: 800 });
      let refusedAtOnce = 0;
      const waited: Promise<unknown>[] = [];
      // Five hundred a second, none of which ends.
      for (let n = 0; n < 350; n += 1) {
        const one = gate.enter({ signal: never });
        if ((await settled(one)) === 'refused') refusedAtOnce += 1;
        else waited.push(one);
        await vi.advanceTimersByTimeAsync(2);
      }
      expect(waited.length).toBeLessThan(60);
      expect(waited.length + refusedAtOnce).toBe(350);
      for (const one of waited) one.catch(() => undefined);
    } finally {
      vi.useRealTimers();
    }
  });

  it('lets no request wait longer than allowed', async () => {
    const gate = gateOf({ running_max: 1, wait_max_ms: 5 });
    await gate.enter({ signal: never });
    await expect(gate.enter({ signal: never })).rejects.toMatchObject({ code: 'overloaded' });
  });

  it('forgets a caller that goes away while waiting', async () => {
    const gate = gateOf({ running_max: 1 });
    const leave = await gate.enter({ signal: never });
    const gone = new AbortController();
    const waiting = gate.enter(gone);
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'overloaded' });
    leave();
    expect(await settled(gate.enter({ signal: never }))).toBe('in');
  });

  it('gives one share at most half of the places and a quarter of the queue', async () => {
    const gate = gateOf({ running_max: 4, waiting_max: 8 });
    const enter = (share: string) => gate.enter({ signal: never, share });
    const greedy = Array.from({ length: 5 }, () => enter('greedy'));
    expect(await Promise.all(greedy.map(settled))).toEqual([
      'in',
      'in',
      'waiting',
      'waiting',
      'refused',
    ]);
    const modest = [enter('modest'), enter('modest')];
    expect(await Promise.all(modest.map(settled))).toEqual(['in', 'in']);
  });

  it('gives a free place to the share that has the fewest, however long others have waited', async () => {
    const gate = gateOf({ running_max: 2, waiting_max: 8 });
    const enter = (share: string) => gate.enter({ signal: never, share });
    const leave = await enter('first');
    await enter('second');
    const again = enter('second');
    const other = enter('third');
    leave();
    expect([await settled(again), await settled(other)]).toEqual(['waiting', 'in']);
  });
});
