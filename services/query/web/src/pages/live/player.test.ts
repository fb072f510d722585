import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Problem } from '../../api/problem.js';
import { createPlayer } from './player.js';
import type { Piece } from './player.js';

const SECOND = 1_000;
const NOW = Date.parse('2026-03-05T15:00:00Z');

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A server that answers each question with empty frames. */
function played(answer: (fromMs: number) => Problem | null = () => null) {
  const asked: { fromMs: number; toMs: number; step: number }[] = [];
  const onPresent = vi.fn();
  const player = createPlayer({
    load: (fromMs, toMs, step) => {
      asked.push({ fromMs, toMs, step });
      const problem = answer(fromMs);
      if (problem !== null) return Promise.reject(problem);
      const frames: Piece['frames'] = [];
      for (let ms = fromMs; ms < toMs; ms += step * SECOND) {
        frames.push({
          at: new Date(ms).toISOString(),
          open: 1,
          bytes_sent_per_second: 0,
          bytes_received_per_second: 0,
          items: [],
        });
      }
      return Promise.resolve({ step_ms: step * SECOND, frames, sessions: [] });
    },
    onPresent,
    now: () => NOW,
  });
  return { player, asked, onPresent };
}

describe('a playback', () => {
  test.each([10, 60] as const)('shows %i seconds of the past in each second', async (speed) => {
    const { player, asked } = played();
    const fromMs = NOW - 4 * 3_600 * SECOND;
    player.play(fromMs, speed);
    await vi.advanceTimersByTimeAsync(0);
    expect(player.frame.value?.atMs).toBe(fromMs);
    await vi.advanceTimersByTimeAsync(70 * SECOND);
    expect(player.frame.value?.atMs).toBe(fromMs + 70 * speed * SECOND);
    // The second piece was asked for before the first had ended, and continues it.
    expect(asked[1]).toEqual({
      fromMs: fromMs + 60 * speed * SECOND,
      toMs: fromMs + 120 * speed * SECOND,
      step: speed,
    });
  });

  test('ends in the present', async () => {
    const { player, onPresent } = played();
    player.play(NOW - 30 * SECOND, 10);
    await vi.advanceTimersByTimeAsync(10 * SECOND);
    expect(onPresent).toHaveBeenCalledOnce();
    expect(player.speed.value).toBeNull();
    // The page shows the present again, not the last frame.
    expect(player.frame.value).toBeNull();
  });

  test('a pause reports the moment that was shown, and nothing is asked after it', async () => {
    const { player, asked } = played();
    player.play(NOW - 3_600 * SECOND, 10);
    await vi.advanceTimersByTimeAsync(3 * SECOND);
    expect(player.pause()).toBe(NOW - 3_600 * SECOND + 30 * SECOND);
    await vi.advanceTimersByTimeAsync(600 * SECOND);
    expect(asked).toHaveLength(1);
  });

  test('a busy server is asked again after its Retry-After, and the playback continues', async () => {
    let refusals = 1;
    const busy = new Problem(503, {}, new Headers({ 'retry-after': '3' }));
    const { player, asked } = played(() => (refusals-- > 0 ? busy : null));
    player.play(NOW - 3_600 * SECOND, 10);
    await vi.advanceTimersByTimeAsync(2 * SECOND);
    expect(player.problem.value?.isBusy).toBe(true);
    await vi.advanceTimersByTimeAsync(10 * SECOND);
    expect(player.problem.value).toBeNull();
    expect(player.frame.value).not.toBeNull();
    expect(asked[1]?.fromMs).toBe(asked[0]?.fromMs);
  });
});
