import type { ActiveSession, Session, SessionFilters } from '@sockscope/schemas/api';
import ipaddr from 'ipaddr.js';
import type { Context } from '../http/context.js';
import { ProblemError } from '../problems/problem.js';
import { filtersOf, restrictedTo } from '../filters/filters.js';
import type { Filters } from '../filters/filters.js';
import { maskedUsersQuery } from '../sql/masked-users.js';
import type { Dimension } from '@sockscope/schemas/sums';
import type { SumsOf } from '../sql/sums.js';
import type { Store } from '../store/store.js';
import { isUserToken, SHOWN_BITS } from './mask.js';
import type { Mask } from './mask.js';

/** Translates between what a principal sees and what is stored. */

/**
 * The filters of a request as its principal means them, within what it may see. To whom users are
 * masked, a user's name is its token; a real name matches nobody, or it could be guessed.
 *
 * @throws ProblemError forbidden where a filter would tell what the mask hides.
 */
export async function visibleFilters(
  store: Store,
  query: Partial<SessionFilters>,
  context: Context,
): Promise<Filters> {
  const { mask } = context;
  const filters = filtersOf(query);
  const user =
    filters.user === undefined || mask.users === 'none'
      ? filters.user
      : await usersOf(store, filters.user, context);
  const source_ip = visibleBlocks(filters.source_ip, mask);
  return restrictedTo(context.onlyUser, { ...filters, user, source_ip });
}

/** The user that a path names; null where there is none. */
export async function visibleUser(
  store: Store,
  named: string,
  context: Context,
): Promise<string | null> {
  if (context.mask.users === 'none') return named;
  const [user = null] = await usersOf(store, [named], context);
  return user;
}

async function usersOf(
  store: Store,
  named: readonly string[],
  context: Context,
): Promise<string[]> {
  const { mask } = context;
  const plain = named.filter((name) => !isUserToken(name) && mask.user(name) === name);
  const tokens = named.filter(isUserToken);
  if (tokens.length === 0) return plain;
  const rows = await store.ask(maskedUsersQuery(mask, tokens, context.nowMs), context);
  return [...plain, ...rows.map((row) => row.user)];
}

function visibleBlocks(blocks: string[] | undefined, mask: Mask): string[] | undefined {
  if (blocks === undefined || mask.addresses === 'none') return blocks;
  if (mask.addresses === 'hmac') {
    throw new ProblemError('forbidden', 'source addresses are masked for this key', {
      errors: [{ parameter: 'source_ip', message: 'needs the scope admin' }],
    });
  }
  return blocks.map((block) => {
    const [address = '', prefix] = block.split('/');
    const parsed = ipaddr.parse(address);
    const isV4 = parsed.kind() === 'ipv4';
    const isMapped = !isV4 && (parsed as ipaddr.IPv6).isIPv4MappedAddress();
    const full = isV4 ? 32 : 128;
    const shown = isV4 ? SHOWN_BITS.ipv4 : isMapped ? 96 + SHOWN_BITS.ipv4 : SHOWN_BITS.ipv6;
    // Anything finer than what is shown means the network that it lies in.
    return `${address}/${Math.min(prefix === undefined ? full : Number(prefix), shown)}`;
  });
}

export function visibleSession<S extends Session | ActiveSession>(found: S, mask: Mask): S {
  if (mask.users === 'none' && mask.addresses === 'none') return found;
  return { ...found, user: mask.user(found.user), source_ip: mask.address(found.source_ip) };
}

/** Addresses of one network are one key to whom they are cut short. */
export function shownTogether(dimension: Dimension, mask: Mask): SumsOf['shownAs'] {
  return dimension === 'source' && mask.addresses === 'truncate'
    ? (key) => mask.addressSql(`toIPv6(${key})`)
    : null;
}

/**
 * Where equals stand in the order of what is hidden, whoever knows a place among them knows who is before
 * and behind it: they are put into the order of what is shown. `items` are in order already.
 */
export function tiesAsShown<T>(
  items: readonly T[],
  isTie: (one: T, other: T) => boolean,
  shown: (item: T) => string,
): T[] {
  const groups: T[][] = [];
  for (const item of items) {
    const group = groups.at(-1);
    const [first] = group ?? [];
    if (group !== undefined && first !== undefined && isTie(first, item)) group.push(item);
    else groups.push([item]);
  }
  return groups.flatMap((group) => group.toSorted((a, b) => (shown(a) < shown(b) ? -1 : 1)));
}
