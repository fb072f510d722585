import { describe, expect, it } from 'vitest';
import { clickHouseErrorOf } from './errors.js';

describe('an error of ClickHouse', () => {
  it('names the oldest version that works if the server lacks a setting', () => {
    const cause = Object.assign(new Error("Unknown setting 'x'"), { code: '115' });
    const error = clickHouseErrorOf(cause, 'query', null);
    expect(error).toMatchObject({ serverCode: 115, retryable: false });
    expect(error.message).toMatch(/too old. 25.6 is the oldest that works/);
  });
});
