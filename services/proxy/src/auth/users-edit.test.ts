import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashPassword, parseHash, passwordMatches } from './password.js';
import { listUsers, putUser, removeUser } from './users-edit.js';

const CHEAP = { ln: 4, r: 1, p: 1 };

describe('editing the users file', () => {
  let dir: string;
  let file: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'sockscope-users-'));
    file = join(dir, 'users.yaml');
  });
  afterEach(async () => {
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

  it('does not touch a file that is invalid, nor one that another command has in hand', async () => {
    await writeFile(file, 'users: 3\n');
    await expect(put('alice', 'x')).rejects.toThrow(/users\.yaml:1/);
    expect(await readFile(file, 'utf8')).toBe('users: 3\n');
    await rm(file);
    await writeFile(`${file}.lock`, '');
    await expect(put('alice', 'x')).rejects.toThrow(/another command/);
  });

  it('survives names that mean something in YAML', async () => {
    const names = ['no', '1.5', '- a', 'a: b', '#x', 'ünï', "it's", '"q"', '{}', '~'];
    for (const name of names) {
      // oxlint-disable-next-line no-await-in-loop
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
