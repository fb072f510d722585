import type ipaddr from 'ipaddr.js';
import { parsedAddress } from '../filters/addresses.js';
import { filtersOf, restrictedTo } from '../filters/filters.js';
import type { Filters } from '../filters/filters.js';
import { predicateOf } from '../filters/predicate.js';
import type { Predicate } from '../filters/predicate.js';
import { ProblemError } from '../problems/problem.js';
import { maskedUsersQuery } from '../sql/masked-users.js';
import type { Store } from '../store/store.js';
import { isUserToken, NO_MASK, SHOWN_BITS } from './mask.js';
import type { Mask } from './mask.js';
import type { Viewer } from './viewer.js';

/** Translates the filters of a principal into stored values. */

/**
 * The filters of a request as its principal means them, within its visible users. If users are
 * masked, a user's name is its token; a real name matches nobody, or it could be guessed.
 *
 * @throws ProblemError forbidden if a filter would reveal a masked value.
 */
export async function visibleFilters(
  store: Store,
  query: Filters,
  viewer: Viewer,
): Promise<Filters> {
  const { mask } = viewer;
  const filters = filtersOf(query);
  const user =
    filters.user === undefined ? undefined : await visibleUsers(store, filters.user, viewer);
  const source_ip =
    filters.source_ip === undefined ? undefined : visibleBlocks(filters.source_ip, mask);
  return restrictedTo(viewer.onlyUsers, {
    ...filters,
    ...(user === undefined ? {} : { user }),
    ...(source_ip === undefined ? {} : { source_ip }),
  });
}

/**
 * The same filters over arriving sessions. Names are compared as they are shown, so that a user that
 * was not known at the time of the request passes as well.
 *
 * @throws ProblemError forbidden if a filter would reveal a masked value.
 */
export function visiblePredicate(query: Filters, { mask, onlyUsers }: Viewer): Predicate {
  const { user: named, source_ip, ...rest } = filtersOf(query);
  const matches = predicateOf({
    ...rest,
    ...(source_ip === undefined ? {} : { source_ip: visibleBlocks(source_ip, mask) }),
  });
  const isNamed = (user: string) =>
    named === undefined ||
    named.includes(mask.user(user)) ||
    // A viewer of some users knows their names.
    (onlyUsers !== null && named.includes(user));
  return (session) => {
    const { user } = session as { readonly user: string };
    return (onlyUsers?.includes(user) ?? true) && isNamed(user) && matches(session);
  };
}

/** Equal values see the same sessions, shown alike. */
export function viewOf(query: Filters, { mask, onlyUsers }: Viewer): unknown[] {
  return [mask === NO_MASK, onlyUsers, filtersOf(query)];
}

/** The users that a request names. */
export async function visibleUsers(
  store: Store,
  named: readonly string[],
  viewer: Viewer,
): Promise<string[]> {
  const { mask, onlyUsers } = viewer;
  if (mask.users === 'none') return [...named];
  // A viewer of some users knows their names.
  if (onlyUsers !== null) {
    return onlyUsers.filter((user) => named.includes(user) || named.includes(mask.user(user)));
  }
  const plain = named.filter((name) => !isUserToken(name) && mask.user(name) === name);
  const tokens = named.filter(isUserToken);
  if (tokens.length === 0) return plain;
  const rows = await store.ask(maskedUsersQuery(mask, tokens, viewer.nowMs), viewer);
  return [...plain, ...rows.map((row) => row.user)];
}

/** @throws ProblemError forbidden */
export function visibleBlocks(blocks: readonly string[], mask: Mask): string[] {
  if (mask.addresses === 'none') return [...blocks];
  if (mask.addresses === 'hmac') {
    throw new ProblemError('forbidden', 'source addresses are masked for this key', {
      errors: [{ parameter: 'source_ip', message: 'needs the scope admin' }],
    });
  }
  return blocks.map((block) => {
    const [address = '', prefix] = block.split('/');
    const parsed = parsedAddress(address);
    const isV4 = parsed.kind() === 'ipv4';
    const isMapped = !isV4 && (parsed as ipaddr.IPv6).isIPv4MappedAddress();
    const full = isV4 ? 32 : 128;
    const shown = isV4 ? SHOWN_BITS.ipv4 : isMapped ? 96 + SHOWN_BITS.ipv4 : SHOWN_BITS.ipv6;
    // Anything finer than the shown network means that network.
    return `${address}/${Math.min(prefix === undefined ? full : Number(prefix), shown)}`;
  });
}
