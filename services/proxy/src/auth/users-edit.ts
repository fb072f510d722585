import { randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join, basename } from 'node:path';
import { messageOf, releaseOwnership, SockscopeError, takeOwnership } from '@sockscope/runtime';
import { isMap, isSeq, parseDocument, YAMLMap, YAMLSeq } from 'yaml';
import type { Document } from 'yaml';
import { refuseDeepNesting } from '../policy-file/document.js';
import { formatHash } from './password.js';
import type { PasswordHash } from './password.js';
import { parseUsersFile } from './users-file.js';
import type { User } from './users-file.js';

const PRIVATE_MODE = 0o600;
const PERMISSIONS = 0o777;
const EMPTY_FILE = '# Users of the proxy: `sockscope-proxy users --help`.\nusers: []\n';

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

async function readOrEmpty(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return EMPTY_FILE;
    throw error;
  }
}

async function statIfThere(file: string): Promise<Stats | null> {
  try {
    return await stat(file);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

/**
 * Gives the replacement of a file the file's owner, group and mode: root's file, readable for root
 * alone, would shut out the proxy, which runs as another user.
 */
async function makeAlike(handle: FileHandle, file: string, { uid, gid, mode }: Stats) {
  const made = await handle.stat();
  if (made.uid !== uid || made.gid !== gid) {
    try {
      await handle.chown(uid, gid);
    } catch (cause) {
      throw new SockscopeError(
        'users_file_owner',
        `${file} was not changed: it belongs to user ${uid} and group ${gid}, and this user may ` +
          `not make files of theirs (${messageOf(cause)}); run the command as user ${uid} or root`,
        { cause },
      );
    }
  }
  // Not before the owner is right: others could read it.
  await handle.chmod(mode & PERMISSIONS);
}

/**
 * Replaces the file in one step, so that no reader ever sees half of it. It stays whose it was, and
 * only its owner may read one that was not there.
 */
async function replace(file: string, text: string): Promise<void> {
  const before = await statIfThere(file);
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString('hex')}`);
  try {
    const handle = await open(temporary, 'wx', PRIVATE_MODE);
    try {
      await handle.writeFile(text);
      if (before !== null) await makeAlike(handle, file, before);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Two commands at once would lose one's change; the second fails and asks to be repeated. */
async function locked<T>(file: string, work: () => Promise<T>): Promise<T> {
  const lock = `${file}.lock`;
  if (!takeOwnership(lock)) {
    throw new SockscopeError('users_file_locked', `another command is changing ${file}`, {
      retryable: true,
    });
  }
  try {
    return await work();
  } finally {
    releaseOwnership(lock);
  }
}

function userNodes(document: Document): YAMLSeq {
  const users: unknown = document.get('users');
  if (isSeq(users)) return users;
  const created = new YAMLSeq();
  document.set('users', created);
  return created;
}

function indexOf(users: YAMLSeq, name: string): number {
  return users.items.findIndex((item) => isMap(item) && item.get('name') === name);
}

/** Changes the file, keeping its comments and layout; the result is checked before it is written. */
async function edit(file: string, change: (document: Document, users: YAMLSeq) => void) {
  // Through a link, as Kubernetes makes them: replace the file behind it.
  const real = await realpath(file).catch(() => file);
  await locked(real, async () => {
    const text = await readOrEmpty(real);
    refuseDeepNesting(file, text);
    const document = parseDocument(text);
    // An empty file is not valid for the proxy, but a valid start for this command.
    if (document.contents !== null || document.errors.length > 0) parseUsersFile(file, text);
    const users = userNodes(document);
    users.flow = false;
    change(document, users);
    if (users.items.length === 0) users.flow = true;
    const changed = document.toString({ lineWidth: 0 });
    parseUsersFile(file, changed);
    await replace(real, changed);
  });
}

/**
 * Adds a user, or changes password and groups of an existing one. Without groups, the former ones
 * stay.
 */
export async function putUser(
  file: string,
  user: {
    readonly name: string;
    readonly hash: PasswordHash;
    readonly groups: readonly string[] | null;
  },
): Promise<'added' | 'changed'> {
  let result: 'added' | 'changed' = 'added';
  await edit(file, (document, users) => {
    const at = indexOf(users, user.name);
    const existing: unknown = users.items[at];
    const node = isMap(existing) ? existing : new YAMLMap();
    result = isMap(existing) ? 'changed' : 'added';
    node.set('name', user.name);
    node.set('password', formatHash(user.hash));
    if (user.groups !== null) {
      const groups = document.createNode([...user.groups], { flow: true });
      if (user.groups.length === 0) node.delete('groups');
      else node.set('groups', groups);
    }
    if (at < 0) users.add(node);
  });
  return result;
}

/** @throws SockscopeError `user_unknown` if the name does not exist. */
export async function removeUser(file: string, name: string): Promise<void> {
  await edit(file, (_document, users) => {
    const at = indexOf(users, name);
    if (at < 0) throw new SockscopeError('user_unknown', `there is no user "${name}" in ${file}`);
    users.items.splice(at, 1);
  });
}

export async function listUsers(file: string): Promise<readonly User[]> {
  return [...parseUsersFile(file, await readOrEmpty(file)).values()];
}
