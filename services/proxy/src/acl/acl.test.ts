import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, Registry } from '@sockscope/runtime';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAcl } from './acl.js';
import type { AclRequest, ManagedAcl } from './acl.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };

const logger = createLogger('test', { level: 'silent' });

function request(over: Partial<AclRequest>): AclRequest {
  return {
    user: 'anonymous',
    groups: [],
    source_ip: '127.0.0.1',
    dest_host: 'example.com',
    dest_ip: null,
    dest_port: 80,
    protocol: 'tcp',
    command: 'connect',
    nowMs: 0,
    ...over,
  };
}

const LOCAL_ACL = `
default: allow
rules:
  - name: loopback
    action: allow
    destinations: [127.0.0.0/8, '::1']
`;

describe('the ACL of a file', () => {
  let dir: string;
  let file: string;
  const running: ManagedAcl[] = [];

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sockscope-acl-'));
    file = join(dir, 'acl.yaml');
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((acl) => acl.stop()));
    await rm(dir, { recursive: true, force: true });
  });

  async function started(text: string, metrics = new Registry()): Promise<ManagedAcl> {
    await writeFile(file, text);
    const acl = createAcl(
      { file, reload_interval_ms: 10, own_endpoints: ['127.0.0.1:9092', 'http://127.0.0.1:8123'] },
      { logger, metrics },
    );
    running.push(acl);
    await acl.start();
    return acl;
  }

  it('lets loopback through if a rule names it, but never the own ports', async () => {
    const acl = await started(LOCAL_ACL);
    expect(acl.decide(request({ dest_host: '127.0.0.1', dest_port: 3000 }))).toEqual({
      decision: 'allow',
      rule: 'loopback',
    });
    for (const host of ['127.0.0.1', '127.9.9.9', '0', '::1', '::ffff:127.0.0.1', '2130706433']) {
      for (const port of [9092, 8123]) {
        const verdict = acl.decide(request({ dest_host: host, dest_port: port }));
        expect({ host, port, ...verdict }).toEqual({
          host,
          port,
          decision: 'block',
          rule: 'protection:own_ports',
        });
      }
    }
  });

  it('protects ports that become known after the start', async () => {
    const acl = await started(LOCAL_ACL);
    await acl.protectEndpoints(['0.0.0.0:4444']);
    expect(acl.decide(request({ dest_host: '127.0.0.1', dest_port: 4444 })).rule).toBe(
      'protection:own_ports',
    );
  });

  it('applies a changed file, also one that was renamed into place', async () => {
    const acl = await started(LOCAL_ACL);
    const changed = vi.fn();
    acl.onChange(changed);
    await writeFile(join(dir, 'new'), 'default: block\n');
    await rename(join(dir, 'new'), file);
    await vi.waitFor(() => {
      expect(acl.decide(request({})).decision).toBe('block');
    }, WAIT);
    expect(changed).toHaveBeenCalledTimes(1);
    await writeFile(file, 'default: allow\n');
    await vi.waitFor(() => {
      expect(acl.decide(request({})).decision).toBe('allow');
    }, WAIT);
  });

  it('keeps the former rules if the new file is invalid, and reports it until it is repaired', async () => {
    const metrics = new Registry();
    const acl = await started('default: block\n', metrics);
    await writeFile(file, 'default: maybe\nrules: 3\n');
    await vi.waitFor(() => {
      expect(acl.check().ok).toBe(false);
    }, WAIT);
    expect(acl.check().detail).toMatch(/acl\.yaml:1: default[\s\S]*acl\.yaml:2: rules/);
    expect(acl.decide(request({})).decision).toBe('block');
    expect(await metrics.getSingleMetricAsString('sockscope_proxy_acl_file_valid')).toContain(
      'sockscope_proxy_acl_file_valid 0',
    );
    await rm(file);
    expect((await acl.reload()).ok).toBe(false);
    expect(acl.decide(request({})).decision).toBe('block');
    await writeFile(file, 'default: allow\n');
    await vi.waitFor(() => {
      expect(acl.check()).toEqual({ ok: true });
    }, WAIT);
    expect(acl.decide(request({})).decision).toBe('allow');
  });

  it('does not start on an invalid or missing file', async () => {
    await expect(started('default: [')).rejects.toThrow(/acl\.yaml:1/);
    const missing = createAcl(
      { file: join(dir, 'none.yaml'), reload_interval_ms: 0, own_endpoints: [] },
      { logger, metrics: new Registry() },
    );
    await expect(missing.start()).rejects.toThrow(/ENOENT/);
  });
});
