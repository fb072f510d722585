import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sessionEvent } from './events.js';
import { SCHEMA_VERSION } from './limits.js';
import { classOfVersion, upcast } from './versions.js';

/**
 * Events of the proxy's first version, recorded from its sockets. They must stay readable
 * permanently.
 */
const recorded = readFileSync(new URL('../../vectors/recorded.v1.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('versions of the contract', () => {
  it('an event that was recorded with version 1 keeps every value that it had', () => {
    expect(new Set(recorded.map((event) => event['type'])).size).toBe(3);
    for (const event of recorded) {
      expect(sessionEvent.parse(upcast(event))).toEqual({
        egress_ip: null,
        egress_port: null,
        ...(event['type'] === 'SessionClosed' ? { assumed: false } : {}),
        ...event,
        schema_version: SCHEMA_VERSION,
      });
    }
  });

  it('a version up to 16 ahead waits for an upgrade, and nothing else does', () => {
    expect([1, SCHEMA_VERSION].map(classOfVersion)).toEqual(['known', 'known']);
    expect([1, 2, 16].map((ahead) => classOfVersion(SCHEMA_VERSION + ahead))).toEqual(
      Array.from({ length: 3 }, () => 'waits'),
    );
    for (const version of [SCHEMA_VERSION + 17, 0, -1, 1.5, '1', null, undefined, NaN, Infinity]) {
      expect(classOfVersion(version), String(version)).toBe('poison');
    }
  });

  it('an old event goes through every step up to the present version', () => {
    const steps = {
      1: (event: object) => ({ ...event, named: 'two' }),
      2: (event: object) => ({ ...event, counted: 3 }),
    };
    expect(upcast({ schema_version: 1 }, steps, 3)).toEqual({
      schema_version: 3,
      named: 'two',
      counted: 3,
    });
    expect(upcast({ schema_version: 3, named: 'x' }, steps, 3)).toEqual({
      schema_version: 3,
      named: 'x',
    });
    expect(() => upcast({ schema_version: 1 }, {}, 2)).toThrow('no step from version 1');
  });
});
