import { describe, expect, it } from 'vitest';
import { DAYS, isTimeZone, localTimeOf, windowHolds } from './time-windows.js';
import type { TimeWindow } from './time-windows.js';

function isOpen(window: Partial<TimeWindow>, at: string): boolean {
  const whole: TimeWindow = {
    days: DAYS,
    fromMinute: 0,
    toMinute: 1_440,
    timeZone: 'UTC',
    ...window,
  };
  return windowHolds(whole, localTimeOf(Date.parse(at), whole.timeZone));
}

const hours = (from: number, to: number) => ({ fromMinute: from * 60, toMinute: to * 60 });

describe('a time window', () => {
  it('opens with its first minute and closes with its last', () => {
    const window = { ...hours(9, 17), days: ['mon'] as const };
    expect(isOpen(window, '2026-11-23T08:59:59Z')).toBe(false);
    expect(isOpen(window, '2026-11-23T09:00:00Z')).toBe(true);
    expect(isOpen(window, '2026-11-23T16:59:59Z')).toBe(true);
    expect(isOpen(window, '2026-11-23T17:00:00Z')).toBe(false);
    expect(isOpen(window, '2026-11-24T12:00:00Z')).toBe(false);
  });

  it('that ends before it begins belongs to the day on which it began', () => {
    const window = { ...hours(22, 6), days: ['fri'] as const };
    expect(isOpen(window, '2026-11-27T22:00:00Z')).toBe(true);
    expect(isOpen(window, '2026-11-28T05:59:59Z')).toBe(true);
    expect(isOpen(window, '2026-11-28T06:00:00Z')).toBe(false);
    expect(isOpen(window, '2026-11-27T05:00:00Z')).toBe(false);
    expect(isOpen(window, '2026-11-28T22:00:00Z')).toBe(false);
  });

  it('follows the clocks of its zone, summer time included', () => {
    const berlin = { ...hours(9, 10), timeZone: 'Europe/Berlin' };
    expect(isOpen(berlin, '2026-03-28T08:30:00Z')).toBe(true);
    expect(isOpen(berlin, '2026-03-30T08:30:00Z')).toBe(false);
    expect(isOpen(berlin, '2026-03-30T07:30:00Z')).toBe(true);
    // The window holds in both passes of a repeated hour, and never in a skipped one.
    const night = { ...hours(2, 3), timeZone: 'Europe/Berlin' };
    expect(isOpen(night, '2026-10-25T00:30:00Z')).toBe(true);
    expect(isOpen(night, '2026-10-25T01:30:00Z')).toBe(true);
    expect(isOpen(night, '2026-03-29T00:30:00Z')).toBe(false);
    expect(isOpen(night, '2026-03-29T01:30:00Z')).toBe(false);
    const kolkata = { ...hours(0, 1), days: ['tue'] as const, timeZone: 'Asia/Kolkata' };
    expect(isOpen(kolkata, '2026-11-23T18:30:00Z')).toBe(true);
  });

  it('knows which zones there are', () => {
    expect(isTimeZone('Europe/Berlin')).toBe(true);
    expect(isTimeZone('Europe/Nowhere')).toBe(false);
  });
});
