import { expect, test } from 'vitest';
import { gapsOf } from './timeline.js';

const at = (seq: number) => ({
  type: 'TrafficDelta',
  seq,
  occurred_at: '2026-03-01T00:00:00.000Z',
  bytes_sent: 0,
  bytes_received: 0,
});

test('a timeline marks where events are missing, and how many', () => {
  expect(gapsOf([at(0), at(1), at(4)])).toEqual(new Map([[2, 2]]));
  expect(gapsOf([at(3)])).toEqual(new Map([[0, 3]]));
  expect(gapsOf([])).toEqual(new Map());
});
