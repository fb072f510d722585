import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, Registry } from '@sockscope/runtime';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAuthenticator } from './auth.js';
import type { ManagedAuthenticator } from './auth.js';
import { authConfig } from './config.js';
import type { AuthConfig } from './config.js';
import { formatHash, hashPassword } from './password.js';

const logger = createLogger('test', { level: 'silent' });
const CHEAP = { ln: 4, r: 1, p: 1 };
const defaults = authConfig.parse(
  Object.fromEntries(Object.keys(authConfig.shape).map((key) => [key, undefined])),
);

describe('the authenticator', () => {
  let dir: string;
  let file: string;
  let alice: string;
  let bob: string;
  let nowMs: number;
  const running: ManagedAuthenticator[] = [];

  beforeAll(async () => {
    alice = formatHash(await hashPassword(Buffer.from('s3cret'), CHEAP));
    bob = formatHash(await hashPassword(Buffer.from('hunter2'), { ...CHEAP, ln: 5 }));
  });
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sockscope-auth-'));
    file = join(dir, 'users.yaml');
    nowMs = 1_000_000;
  });
  afterEach(async () => {
    vi.useRealTimers();
    await Promise.all(running.splice(0).map((auth) => auth.stop()));
    await rm(dir, { recursive: true, force: true });
  });

  function usersText(aliceHash = alice): string {
    return `users:
  - name: alice
    password: ${aliceHash}
    groups: [staff, admins]
  - { name: bob, password: '${bob}' }
`;
  }

  async function started(over: Partial<AuthConfig> = {}, metrics = new Registry()) {
    await writeFile(file, usersText());
    const auth = createAuthenticator(
      { ...defaults, users_file: file, reload_interval_ms: 0, ...over },
      { logger, metrics, now: () => nowMs },
    );
    running.push(auth);
    await auth.start();
    return auth;
  }

  const login = (auth: ManagedAuthenticator, user: string, password: string, from = '192.0.2.1') =>
    auth.verify(Buffer.from(user), Buffer.from(password), from);

  async function count(metrics: Registry, result: string): Promise<number> {
    const metric = await metrics.getSingleMetric('sockscope_proxy_auth_attempts_total')?.get();
    return metric?.values.find((v) => v.labels['result'] === result)?.value ?? Number.NaN;
  }

  it.each(['', '# nobody yet\n', '---\n', 'users:\n'])(
    'keeps its users if the file is cut to %j',
    async (text) => {
      const auth = await started();
      await writeFile(file, text);
      expect(await auth.reload()).toMatchObject({ ok: false });
      expect(auth.check().ok).toBe(false);
      expect(auth.knows('alice')).toBe(true);
      await writeFile(file, 'users: []\n');
      expect(await auth.reload()).toMatchObject({ ok: true });
      expect(auth.knows('alice')).toBe(false);
    },
  );

  it('distinguishes right from wrong passwords, and unknown users from clients without a name', async () => {
    const auth = await started();
    expect(await login(auth, 'alice', 's3cret')).toEqual({ ok: true, user: 'alice' });
    expect(await login(auth, 'bob', 'hunter2')).toEqual({ ok: true, user: 'bob' });
    for (const [user, password] of [
      ['alice', 'S3cret'],
      ['alice', ''],
      ['Alice', 's3cret'],
      ['alice', 'hunter2'],
      ['mallory', 's3cret'],
      ['', ''],
      ['anonymous', ''],
      ['__proto__', 'x'],
    ] as const) {
      expect({ user, ...(await login(auth, user, password, '192.0.2.9')) }).toEqual({
        user,
        ok: false,
        kind: 'wrong',
        retryAfterMs: 0,
      });
      nowMs += 86_400_000;
    }
    const garbage = await auth.verify(Buffer.of(0xff, 0xfe), Buffer.of(0), '192.0.2.9');
    expect(garbage.ok).toBe(false);
  });

  it('hashes for unknown users as for known ones', async () => {
    const metrics = new Registry();
    const auth = await started({}, metrics);
    const hashed = async () => {
      const metric = metrics.getSingleMetric('sockscope_proxy_auth_hash_duration_seconds');
      const { values } = (await metric?.get()) ?? { values: [] };
      return values.find((v) => 'metricName' in v && String(v.metricName).endsWith('_count'))
        ?.value;
    };
    await login(auth, 'alice', 'wrong');
    expect(await hashed()).toBe(1);
    await login(auth, 'nobody', 'wrong');
    expect(await hashed()).toBe(2);
  });

  it('hashes once for a busy client, until the users change', async () => {
    const metrics = new Registry();
    const auth = await started({}, metrics);
    const first = await Promise.all(
      Array.from({ length: 50 }, () => login(auth, 'alice', 's3cret')),
    );
    expect(first.every((outcome) => outcome.ok)).toBe(true);
    await login(auth, 'alice', 's3cret');
    expect(await count(metrics, 'remembered')).toBe(1);
    nowMs += defaults.cache_ttl_ms + 1;
    await login(auth, 'alice', 's3cret');
    expect(await count(metrics, 'remembered')).toBe(1);

    await writeFile(file, usersText(bob));
    await auth.reload();
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(false);
    expect((await login(auth, 'alice', 'hunter2')).ok).toBe(true);
  });

  it('slows a guesser down, more with every failure, without slowing the rest of the address', async () => {
    const auth = await started();
    for (let i = 0; i < defaults.free_failures + 1; i += 1) {
      expect((await login(auth, 'alice', `guess ${i}`)).ok).toBe(false);
    }
    expect(await login(auth, 'alice', 's3cret')).toEqual({
      ok: false,
      kind: 'throttled',
      retryAfterMs: 1_000,
    });
    expect((await login(auth, 'bob', 'hunter2')).ok).toBe(true);
    expect((await login(auth, 'alice', 's3cret', '192.0.2.2')).ok).toBe(true);
    nowMs += 1_000;
    await login(auth, 'alice', 'guess');
    expect(await login(auth, 'alice', 's3cret')).toMatchObject({ retryAfterMs: 2_000 });
    nowMs += 2_000;
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
    expect((await login(auth, 'alice', 'one typing error')).ok).toBe(false);
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
  });

  it.each([-86_400_000, 86_400_000])(
    'slows a guesser down for as long when the clock on the wall is set by %i ms',
    async (stepMs) => {
      vi.useFakeTimers({ toFake: ['Date'] });
      await writeFile(file, usersText());
      const auth = createAuthenticator(
        { ...defaults, users_file: file, reload_interval_ms: 0, base_delay_ms: 600_000 },
        { logger, metrics: new Registry() },
      );
      running.push(auth);
      await auth.start();
      for (let i = 0; i < defaults.free_failures + 1; i += 1) {
        await login(auth, 'alice', `guess ${i}`);
      }
      vi.setSystemTime(Date.now() + stepMs);
      const outcome = await login(auth, 'alice', 's3cret');
      const retryAfterMs = outcome.ok ? 0 : outcome.retryAfterMs;
      expect(retryAfterMs).toBeGreaterThan(0);
      expect(retryAfterMs).toBeLessThanOrEqual(600_000);
    },
  );

  it('slows an address down that guesses many names, an IPv6 /64 as one', async () => {
    const auth = await started();
    for (let i = 0; i <= defaults.free_failures_per_address; i += 1) {
      await login(auth, `user${i}`, 'x', `2001:db8::${i.toString(16)}`);
    }
    expect(await login(auth, 'alice', 's3cret', '2001:db8::ffff')).toMatchObject({
      kind: 'throttled',
    });
    expect((await login(auth, 'alice', 's3cret', '2001:db8:0:1::1')).ok).toBe(true);
  });

  it('slows down the /56 and the /48 of many IPv6 /64s, and only those', async () => {
    const auth = await started();
    for (let i = 0; i <= 4 * defaults.free_failures_per_address; i += 1) {
      await login(auth, `user${i}`, 'x', `2001:db8:0:${(i % 8).toString(16)}::1`);
    }
    for (const inside of ['2001:db8:0:ff::1', '2001:db8:0:100::1']) {
      expect(await login(auth, 'alice', 's3cret', inside)).toMatchObject({ kind: 'throttled' });
    }
    expect((await login(auth, 'alice', 's3cret', '2001:db8:1::1')).ok).toBe(true);
  });

  it('a login whose client has left before it was hashed does not count as failed', async () => {
    const auth = await started({ hash_concurrency: 1 });
    const hashing = login(auth, 'bob', 'hunter2');
    for (let i = 0; i < 2 * defaults.free_failures; i += 1) {
      const leaving = new AbortController();
      const { signal } = leaving;
      const left = auth.verify(Buffer.from('alice'), Buffer.from(`${i}`), '192.0.2.1', signal);
      leaving.abort();
      await left;
    }
    await hashing;
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
  });

  /** Makes the address of `login` wait, with names that nobody has. */
  async function exhaust(auth: ManagedAuthenticator) {
    for (let i = 0; i <= defaults.free_failures_per_address; i += 1) {
      expect(await login(auth, `nobody ${i}`, 'x')).toMatchObject({ kind: 'wrong' });
    }
    expect(await login(auth, 'nobody', 'x')).toMatchObject({ kind: 'throttled' });
  }

  it('lets in a user who logged in from an address lately, even if others guess from there', async () => {
    const auth = await started();
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
    await exhaust(auth);
    const endMs = nowMs + 2 * defaults.cache_ttl_ms;
    for (let i = 0; nowMs < endMs; i += 1) {
      const before = await login(auth, 'bob', 'hunter2');
      expect(before).toMatchObject({ kind: 'throttled' });
      // Remembered at first, hashed later; nobody waits longer for it.
      expect(await login(auth, 'alice', 's3cret')).toEqual({ ok: true, user: 'alice' });
      expect(await login(auth, 'bob', 'hunter2')).toEqual(before);
      nowMs += before.ok ? 0 : before.retryAfterMs;
      expect(await login(auth, `again ${i}`, 'x')).toMatchObject({ kind: 'wrong' });
    }
    await writeFile(file, `${usersText()}  - { name: carol, password: '${bob}' }\n`);
    await auth.reload();
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
    expect(await login(auth, 'alice', 's3cret', '192.0.2.2')).toMatchObject({ ok: true });
  });

  it('limits guesses at such a user, whether or not the user logs in meanwhile', async () => {
    const metrics = new Registry();
    const auth = await started({}, metrics);
    await login(auth, 'alice', 's3cret');
    await exhaust(auth);
    const wrong = await count(metrics, 'wrong');
    for (let i = 0; i <= defaults.free_failures_per_address; i += 1) {
      expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
      // As for a name that nobody has: refused at once.
      const guess = await login(auth, 'alice', `guess ${i}`);
      expect(guess).toEqual(await login(auth, 'nobody', `guess ${i}`));
    }
    expect(await count(metrics, 'wrong')).toBe(wrong);
    expect(await login(auth, 'alice', 's3cret')).toMatchObject({ kind: 'throttled' });
    // Nor did the guesses lengthen the delay.
    nowMs += 1_000;
    expect(await login(auth, 'alice', 'x')).toMatchObject({ kind: 'wrong' });
  });

  it('forgets logins from an address after a day, or if there are too many', async () => {
    const auth = await started({ cache_entries: 1 });
    await login(auth, 'alice', 's3cret');
    await exhaust(auth);
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
    nowMs += 86_400_000;
    await exhaust(auth);
    expect(await login(auth, 'alice', 's3cret')).toMatchObject({ kind: 'throttled' });
    nowMs += 86_400_000;
    await login(auth, 'alice', 's3cret');
    await login(auth, 'bob', 'hunter2');
    await exhaust(auth);
    expect(await login(auth, 'alice', 's3cret')).toMatchObject({ kind: 'throttled' });
    expect((await login(auth, 'bob', 'hunter2')).ok).toBe(true);
  });

  it('counts guesses that are made at once', async () => {
    const auth = await started();
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, i) => login(auth, 'alice', `guess ${i}`)),
    );
    const checked = outcomes.filter((o) => !o.ok && o.kind === 'wrong').length;
    expect(checked).toBe(defaults.free_failures + 1);
  });

  it('refuses more logins than may wait', async () => {
    const metrics = new Registry();
    const auth = await started({ hash_concurrency: 1, hash_queue: 2 }, metrics);
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) => login(auth, `user ${i}`, 'x', `192.0.2.${i}`)),
    );
    expect(outcomes.filter((o) => !o.ok && o.kind === 'throttled').length).toBe(7);
    expect(await count(metrics, 'busy')).toBe(7);
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
  });

  it('keeps its users when the new file is invalid', async () => {
    const auth = await started();
    await writeFile(
      file,
      `users:\n  - name: Anonymous\n    password: ${alice}\n  - name: x\n    password: plain\n  - nme: y\n`,
    );
    expect((await auth.reload()).ok).toBe(false);
    expect(auth.check().detail).toMatch(
      /users\.yaml:2: users\[1\]\.name: "anonymous" is reserved[\s\S]*:5: users\[2\]\.password: must be a hash[\s\S]*:6: .*nme/,
    );
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(true);
    expect(auth.knows('alice')).toBe(true);
    expect(auth.groupsOf('alice')).toEqual(['staff', 'admins']);
    await writeFile(file, 'users: []\n');
    expect((await auth.reload()).ok).toBe(true);
    expect(auth.check()).toEqual({ ok: true });
    expect(auth.knows('alice')).toBe(false);
    expect((await login(auth, 'alice', 's3cret')).ok).toBe(false);
  });
});
