import { sessionId, sessionStartMs } from '@sockscope/schemas';
import { describe, expect, it } from 'vitest';
import { createSessionIds } from './session-ids.js';

describe('session ids', () => {
  it('carry their start to the millisecond, keep the contract and are all different', () => {
    const idOf = createSessionIds();
    const startMs = Date.parse('2026-01-31T23:59:59.999Z');
    const ids = Array.from({ length: 2_000 }, (_, i) => idOf(startMs + (i % 2)));
    expect(new Set(ids).size).toBe(ids.length);
    for (const [i, id] of ids.entries()) {
      expect(sessionId.safeParse(id).success).toBe(true);
      expect(sessionStartMs(id)).toBe(startMs + (i % 2));
    }
  });
});
