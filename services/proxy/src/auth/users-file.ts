import { ANONYMOUS_USER, EVENT_LIMITS } from '@sockscope/schemas';
import { z } from 'zod';
import { parsePolicyDocument, PolicyFileError, problemsOf } from '../policy-file/document.js';
import { parseHash } from './password.js';
import type { PasswordHash } from './password.js';

export const USERS_FILE_LIMITS = {
  file_bytes: 32 * 1024 * 1024,
  users: 100_000,
  groups_per_user: 100,
  /** RFC 1929: one length byte. */
  name_bytes: 255,
} as const;

export interface User {
  readonly name: string;
  readonly hash: PasswordHash;
  readonly groups: readonly string[];
}

/** The problem with a name of a user or group; null if it is valid. */
export function nameProblem(name: string): string | null {
  if (name === '') return 'is empty';
  if (
    Buffer.byteLength(name) > USERS_FILE_LIMITS.name_bytes ||
    name.length > EVENT_LIMITS.user_chars
  ) {
    return `is longer than ${USERS_FILE_LIMITS.name_bytes} bytes`;
  }
  if (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(name)) return 'has an invisible character';
  if (name !== name.trim()) return 'begins or ends with a space';
  return name.toLowerCase() === ANONYMOUS_USER
    ? `"${ANONYMOUS_USER}" is reserved for clients that did not authenticate`
    : null;
}

const name = z.string('must be text').superRefine((value, context) => {
  const problem = nameProblem(value);
  if (problem !== null) context.addIssue({ code: 'custom', message: problem });
});

const hash = z.string('must be text').transform((value, context) => {
  const parsed = parseHash(value);
  if (typeof parsed !== 'string') return parsed;
  context.addIssue({ code: 'custom', message: parsed });
  return z.NEVER;
});

const fileShape = z.strictObject(
  {
    users: z
      .array(
        z.strictObject(
          {
            name,
            password: hash,
            groups: z
              .array(name, 'must be a list')
              .max(USERS_FILE_LIMITS.groups_per_user)
              .default([]),
          },
          'must be a map with name, password and groups',
        ),
        'must be a list of users',
      )
      .max(USERS_FILE_LIMITS.users)
      .default([]),
  },
  'must be a map with users',
);

/**
 * Reads a users file. An empty one is not valid: it is more likely one whose writing was cut short
 * than the wish to lock everybody out.
 *
 * @throws PolicyFileError with every problem and its line.
 */
export function parseUsersFile(file: string, content: string): ReadonlyMap<string, User> {
  const document = parsePolicyDocument(file, content);
  if (document.value === null) {
    const message = 'the file is empty: write "users: []" if nobody may log in';
    throw new PolicyFileError(file, [{ line: 1, message }]);
  }
  const parsed = fileShape.safeParse(document.value);
  if (!parsed.success) throw new PolicyFileError(file, problemsOf(document, parsed.error));
  const users = new Map<string, User>();
  const repeated = parsed.data.users.flatMap((user, index) => {
    const isRepeated = users.has(user.name);
    users.set(user.name, { name: user.name, hash: user.password, groups: user.groups });
    const line = isRepeated ? document.lineOf(['users', index, 'name']) : 0;
    return isRepeated ? [{ line, message: `the user "${user.name}" occurs twice` }] : [];
  });
  if (repeated.length > 0) throw new PolicyFileError(file, repeated);
  return users;
}
