import { KEY_LIMITS } from '@sockscope/schemas/api';
import { ProblemError } from '../problems/problem.js';
import { isScope } from './principal.js';
import type { Scope } from './principal.js';

/** Lets a caller without a user see all users. */
export const UNRESTRICTED = 'all_users';

/** The rights that an issuer's claims give. */
export interface Allowed {
  readonly scopes: readonly Scope[];
  /** The only users whose sessions may be seen; null for all. */
  readonly users: readonly string[] | null;
}

/** The texts of a claim that is a list, or one text with spaces between. */
export function textsOf(claim: unknown): string[] {
  const texts: unknown[] =
    typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [];
  return texts.filter((text) => typeof text === 'string');
}

/**
 * The rights from these permissions (scopes and all_users) and the claim that ties to users. Null if that claim
 * is neither a name nor a list of names: it must not widen the access.
 *
 * @throws ProblemError forbidden if neither a user is named nor all are meant.
 */
export function allowedBy(permissions: readonly string[], userClaim: unknown): Allowed | null {
  const users = usersOf(userClaim);
  if (users === undefined) return null;
  const scopes = permissions.filter(isScope);
  // A caller that is tied to no user sees all users, so the issuer must grant that.
  if (users === null && !scopes.includes('admin') && !permissions.includes(UNRESTRICTED)) {
    throw new ProblemError(
      'forbidden',
      `no user is named and neither ${UNRESTRICTED} nor admin is given`,
    );
  }
  return { scopes, users };
}

/** Null without the claim, undefined if it makes no sense. */
function usersOf(claim: unknown): string[] | null | undefined {
  if (claim === undefined || claim === null) return null;
  const users: unknown[] = Array.isArray(claim) ? claim : [claim];
  const names = users.filter((user) => typeof user === 'string' && user !== '') as string[];
  const isWhole = names.length === users.length && names.length > 0;
  return isWhole && names.length <= KEY_LIMITS.users_max ? names : undefined;
}
