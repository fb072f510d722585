import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigError, effectiveConfig, loadConfig, settingReferences } from './config.js';
import { byteSize, durationMs, flag, integer, listenAddress, textList } from './values.js';

const schema = z.object({
  listen: listenAddress()
    .default({ host: '127.0.0.1', port: 1080 })
    .meta({ env: 'T_LISTEN', description: 'where' }),
  limits: z.object({
    sessions: integer({ min: 1 }).default(10).meta({ env: 'T_SESSIONS', description: 'how many' }),
    idle_timeout_ms: durationMs().default(5_000).meta({ env: 'T_IDLE', description: 'how long' }),
    queue_bytes: byteSize().default(1024).meta({ env: 'T_QUEUE', description: 'how large' }),
  }),
  brokers: textList().default([]).meta({ env: 'T_BROKERS', description: 'who' }),
  on: flag().default(false).meta({ env: 'T_ON', description: 'whether' }),
  password: z.string().default('').meta({ env: 'T_PASSWORD', description: 'what', secret: true }),
});

describe('configuration', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sockscope-config-'));
  });
  afterEach(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  const fileWith = (text: string): string => {
    const file = join(dir, 'config.yaml');
    writeFileSync(file, text);
    return file;
  };

  it('gives the defaults if nothing is set, an empty variable included', () => {
    expect(loadConfig(schema, { T_SESSIONS: '' })).toEqual({
      listen: { host: '127.0.0.1', port: 1080 },
      limits: { sessions: 10, idle_timeout_ms: 5_000, queue_bytes: 1024 },
      brokers: [],
      on: false,
      password: '',
    });
  });

  it('lets the environment win over the file', () => {
    const file = fileWith('limits: { sessions: 20, idle_timeout_ms: 2h }\nbrokers: [a:1, b:2]\n');
    const config = loadConfig(schema, {
      SOCKSCOPE_CONFIG: file,
      T_SESSIONS: '30',
      T_QUEUE: '64KiB',
    });
    expect(config.limits).toEqual({
      sessions: 30,
      idle_timeout_ms: 7_200_000,
      queue_bytes: 65_536,
    });
    expect(config.brokers).toEqual(['a:1', 'b:2']);
  });

  it('lists every problem at once, unknown settings of the file among them', () => {
    const file = fileWith('limits: { sesions: 20 }\nlisten: nowhere\n');
    const load = () =>
      loadConfig(schema, { SOCKSCOPE_CONFIG: file, T_SESSIONS: '0', T_ON: 'maybe' });
    expect(load).toThrow(ConfigError);
    expect(load).toThrow(/listen \(T_LISTEN\)[\s\S]*T_SESSIONS[\s\S]*T_ON[\s\S]*limits\.sesions/);
  });

  it('refuses a file that is not YAML, not a map, or not there', () => {
    for (const text of ['a: [', '- 1', 'a: &x 1\nb: *x']) {
      const file = fileWith(text);
      expect(() => loadConfig(schema, { SOCKSCOPE_CONFIG: file }), text).toThrow();
    }
    expect(() => loadConfig(schema, { SOCKSCOPE_CONFIG: join(dir, 'no.yaml') })).toThrow(
      ConfigError,
    );
  });

  it('reads a setting that is text and is parsed, from the environment and a file', () => {
    const pairs = z.object({
      pairs: textList()
        .pipe(z.array(z.string().transform((text) => text.split('='))))
        .default([])
        .meta({ env: 'T_PAIRS', description: 'which' }),
    });
    const expected = {
      pairs: [
        ['a', 'b'],
        ['c', 'd'],
      ],
    };
    expect(loadConfig(pairs, { T_PAIRS: 'a=b,c=d' })).toEqual(expected);
    const file = fileWith('pairs: [a=b, c=d]\n');
    expect(loadConfig(pairs, { SOCKSCOPE_CONFIG: file })).toEqual(expected);
  });

  it('reads IPv6 listen addresses in brackets', () => {
    expect(loadConfig(schema, { T_LISTEN: '[::1]:99' }).listen).toEqual({ host: '::1', port: 99 });
  });

  it('hides secrets that are set', () => {
    const config = loadConfig(schema, { T_PASSWORD: 'hunter2' });
    expect(JSON.stringify(effectiveConfig(schema, config))).not.toContain('hunter2');
    expect(effectiveConfig(schema, config)['password']).toBe('***');
  });

  it('takes every secret from a file, and names the file that cannot be read', () => {
    const file = fileWith('hunter2\n');
    expect(loadConfig(schema, { T_PASSWORD_FILE: file }).password).toBe('hunter2');
    const missing = join(dir, 'missing');
    expect(() => loadConfig(schema, { T_PASSWORD_FILE: missing })).toThrow(
      `T_PASSWORD_FILE: ${missing} cannot be read`,
    );
    expect(() => loadConfig(schema, { T_PASSWORD_FILE: fileWith('\n') })).toThrow('is empty');
  });

  it('describes every setting for the reference, durations and sizes with their units', () => {
    const rows = settingReferences(schema).map((s) => [s.path, s.env, s.default]);
    expect(rows).toContainEqual(['limits.idle_timeout_ms', 'T_IDLE', '5s']);
    expect(rows).toContainEqual(['limits.queue_bytes', 'T_QUEUE', '1KiB']);
    expect(rows).toContainEqual(['limits.sessions', 'T_SESSIONS', '10']);
  });
});
