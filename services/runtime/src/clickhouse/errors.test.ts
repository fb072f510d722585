import { describe, expect, it } from 'vitest';
import { clickHouseErrorOf } from './errors.js';

describe('an error of ClickHouse', () => {
  it('names the oldest version that works if the server lacks a setting', () => {
    const cause = Object.assign(new Error("Unknown setting 'x'"), { code: '115' });
    const error = clickHouseErrorOf(cause, 'query', null);
    expect(error).toMatchObject({ serverCode: 115, retryable: false });
    expect(error.message).toMatch(/too old. 25.6 is the oldest that works/);
  });

  it('names the statement that grants a missing right, for the whole table', () => {
    const messageOf = (message: string) =>
      clickHouseErrorOf(Object.assign(new Error(message), { code: '497' }), 'query', null).message;
    const missing =
      "reader: Not enough privileges. To execute this query, it's necessary to have the grant";
    expect(messageOf(`${missing} SELECT(started_at, session_id) ON d.sessions. `)).toBe(
      `query: ${missing} SELECT(started_at, session_id) ON d.sessions. Grant it with: GRANT SELECT ON d.sessions TO \`reader\``,
    );
    expect(messageOf(`${missing} SELECT for at least one column on d.sessions. `)).toMatch(
      /Grant it with: GRANT SELECT ON d.sessions TO `reader`$/,
    );
    expect(messageOf(`${missing} CREATE TABLE ON d.new`)).toMatch(
      /Grant it with: GRANT CREATE TABLE ON d.new TO `reader`$/,
    );
    expect(messageOf('something else')).toBe('query: something else');
  });
});
