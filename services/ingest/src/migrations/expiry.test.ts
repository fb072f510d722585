import { describe, expect, it } from 'vitest';
import { dropsWholeParts, expirySettings, partitionEndMs } from './expiry.js';

describe('a partition', () => {
  it.each([
    ['toDate(started_at)', '2026-02-28', '2026-03-01'],
    ['toMonday(started_at)', '2026-12-28', '2027-01-04'],
    ['toYYYYMM(bucket)', '202612', '2027-01-01'],
    ['toYear(bucket)', '2026', '2027-01-01'],
  ])('of %s with the name %s ends at %s', (key, name, end) => {
    expect(partitionEndMs(key, name)).toBe(Date.parse(end));
  });

  it('of a key or a name that is not ours has no end that is known', () => {
    expect(partitionEndMs('user', 'anna')).toBeNull();
    expect(partitionEndMs('toDate(started_at)', 'tuple()')).toBeNull();
  });

  it('of a week at most is dropped as a whole, a larger one is rewritten once in some days', () => {
    expect(dropsWholeParts('toDate(started_at)')).toBe(true);
    expect(dropsWholeParts('toYYYYMM(bucket)')).toBe(false);
    expect(expirySettings('toDate(a)', 'ReplacingMergeTree')).toMatch(/ttl_only_drop_parts = 1/);
    const engine = 'ReplacingMergeTree SETTINGS merge_with_ttl_timeout = 432000';
    expect(expirySettings('toYear(a)', engine)).toBeNull();
  });
});
