import type { Stats } from 'node:fs';
import {
  chmod,
  chown,
  lstat,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import type * as Files from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { hashPassword, parseHash, passwordMatches } from './password.js';
import { listUsers, putUser, removeUser } from './users-edit.js';

// Only root can have files of others.
vi.mock('node:fs/promises', async (load) => {
  const real = await load<typeof Files>();
  return { ...real, open: vi.fn(real.open), stat: vi.fn(real.stat) };
});

const isRoot = process.getuid?.() === 0;
const CHEAP = { ln: 4, r: 1, p: 1 };

describe('editing the users file', () => {
  let dir: string;
  let file: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sockscope-users-'));
    file = join(dir, 'users.yaml');
  });
  afterEach(async () => {
    vi.mocked(open).mockReset();
    vi.mocked(stat).mockReset();
    await rm(dir, { recursive: true, force: true });
  });

  const put = async (name: string, password: string, groups: string[] | null = null) =>
    putUser(file, { name, groups, hash: await hashPassword(Buffer.from(password), CHEAP) });

  it('creates the file for its owner alone, and holds no password', async () => {
    expect(await put('alice', 'correct horse', ['staff'])).toBe('added');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).not.toContain('horse');
    const [alice] = await listUsers(file);
    expect(alice).toMatchObject({ name: 'alice', groups: ['staff'] });
    if (alice === undefined) throw new Error('alice is missing');
    expect(await passwordMatches(Buffer.from('correct horse'), alice.hash)).toBe(true);
    expect(await readdir(dir)).toEqual(['users.yaml']);
  });

  it('changes a password, keeps the groups, the comments and everybody else', async () => {
    await put('alice', 'one', ['staff']);
    await put('bob', 'two');
    await writeFile(file, `# mine\n${await readFile(file, 'utf8')}`);
    expect(await put('alice', 'three')).toBe('changed');
    const users = await listUsers(file);
    expect(users.map(({ name, groups }) => ({ name, groups }))).toEqual([
      { name: 'alice', groups: ['staff'] },
      { name: 'bob', groups: [] },
    ]);
    expect(await readFile(file, 'utf8')).toMatch(/^# mine/);
    await removeUser(file, 'alice');
    await removeUser(file, 'bob');
    expect(await listUsers(file)).toEqual([]);
    await expect(removeUser(file, 'bob')).rejects.toThrow(/no user "bob"/);
  });

  it('begins with a file that holds nothing, though it is not one to run with', async () => {
    await writeFile(file, '# mine\n');
    await expect(listUsers(file)).rejects.toThrow(/is empty: write "users: \[\]"/);
    expect(await put('alice', 'one')).toBe('added');
    expect((await listUsers(file)).map(({ name }) => name)).toEqual(['alice']);
  });

  it('does not touch an invalid file, nor a file that another command is changing', async () => {
    await writeFile(file, 'users: 3\n');
    await expect(put('alice', 'x')).rejects.toThrow(/users\.yaml:1/);
    expect(await readFile(file, 'utf8')).toBe('users: 3\n');
    await rm(file);
    await writeFile(`${file}.lock`, String(process.ppid));
    await expect(put('alice', 'x')).rejects.toThrow(/another command/);
    // Files that a killed command left do no harm.
    await writeFile(`${file}.lock`, '99999999');
    expect(await put('alice', 'x')).toBe('added');
  });

  it('replaces the file behind a link, and leaves the link', async () => {
    await put('alice', 'one');
    const link = join(dir, 'link.yaml');
    await symlink(file, link);
    await putUser(link, {
      name: 'bob',
      groups: null,
      hash: await hashPassword(Buffer.from('two'), CHEAP),
    });
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
    expect((await listUsers(file)).map(({ name }) => name)).toEqual(['alice', 'bob']);
  });

  it('leaves the file its mode', async () => {
    await put('alice', 'one');
    await chmod(file, 0o640);
    await put('bob', 'two');
    expect((await stat(file)).mode & 0o777).toBe(0o640);
    await removeUser(file, 'bob');
    expect((await stat(file)).mode & 0o777).toBe(0o640);
  });

  it.runIf(isRoot)('leaves the file its owner and group when root runs it', async () => {
    await put('alice', 'one');
    await chown(file, 12_345, 12_346);
    await put('bob', 'two');
    expect(await stat(file)).toMatchObject({ uid: 12_345, gid: 12_346 });
  });

  /** Lets another user own the file, and sets the result of changing an owner. */
  async function ofSomebodyElse(give: () => Promise<void>) {
    const real = await stat(file);
    const others: Stats = Object.assign(Object.create(real) as Stats, { uid: 12_345, gid: 12_346 });
    vi.mocked(stat).mockResolvedValueOnce(others);
    const given = vi.fn<(uid: number, gid: number) => Promise<void>>(give);
    const realOpen = vi.mocked(open).getMockImplementation();
    vi.mocked(open).mockImplementation(async (...args) => {
      if (realOpen === undefined) throw new Error('there is no open');
      return Object.assign(await realOpen(...args), { chown: given });
    });
    return given;
  }

  it('keeps the owner of the file', async () => {
    await put('alice', 'one');
    const given = await ofSomebodyElse(() => Promise.resolve());
    await put('bob', 'two');
    expect(given.mock.calls).toEqual([[12_345, 12_346]]);
    expect((await listUsers(file)).map(({ name }) => name)).toEqual(['alice', 'bob']);
  });

  it('changes nothing if the new file cannot get its former owner', async () => {
    await put('alice', 'one');
    const before = await readFile(file, 'utf8');
    const cause = Object.assign(new Error('EPERM: not permitted'), { code: 'EPERM' });
    await ofSomebodyElse(() => Promise.reject(cause));
    await expect(put('bob', 'two')).rejects.toThrow(
      /users\.yaml was not changed: it belongs to user 12345 and group 12346/,
    );
    expect(await readFile(file, 'utf8')).toBe(before);
    expect(await readdir(dir)).toEqual(['users.yaml']);
  });

  it('survives names that mean something in YAML', async () => {
    const names = ['no', '1.5', '- a', 'a: b', '#x', 'ünï', "it's", '"q"', '{}', '~'];
    for (const name of names) {
      await put(name, 'x');
    }
    expect((await listUsers(file)).map((user) => user.name)).toEqual(names);
  });
});

describe('password hashes', () => {
  it('are refused when they would take too much of the machine', () => {
    const salt = 'A'.repeat(22);
    const key = 'A'.repeat(43);
    expect(typeof parseHash(`$scrypt$ln=15,r=8,p=3$${salt}$${key}`)).toBe('object');
    for (const bad of [
      `$scrypt$ln=20,r=32,p=1$${salt}$${key}`,
      `$scrypt$ln=30,r=8,p=1$${salt}$${key}`,
      `$scrypt$ln=0,r=8,p=1$${salt}$${key}`,
      `$scrypt$ln=15,r=8,p=99$${salt}$${key}`,
      `$argon2id$v=19$m=65536,t=3,p=4$${salt}$${key}`,
      'plaintext',
      '',
    ]) {
      expect(typeof parseHash(bad), bad).toBe('string');
      if (bad !== '') expect(parseHash(bad)).not.toContain(key);
    }
  });
});
