import type { Session, TopField } from '@sockscope/schemas/api';
import { plainOf } from '../sql/stored.js';
import type { Stored } from '../sql/stored.js';
import type { ShownKeys } from '../sql/sums.js';
import type { Mask } from './mask.js';

/** The fields of a session that a mask hides. */
interface StoredNames {
  readonly user: Stored;
  readonly source_ip: Stored;
}

type Shown<Row> = Omit<Row, keyof StoredNames> & Pick<Session, keyof StoredNames>;

/** Turns stored values into visible ones: the only way from one to the other. */
export interface Presenter {
  user(stored: Stored): string;
  session<Row extends StoredNames>(row: Row): Shown<Row>;
  /** A key of a list or a series under the name of its field; null for no value. */
  key(field: TopField, stored: Stored): string | number | null;
  /**
   * Puts equals into the order of the users that are shown. In the order of the hidden names, a
   * reader who knows one name would learn its neighbours. `items` are in order already.
   */
  ranked<T>(items: readonly T[], isTie: (a: T, b: T) => boolean, user: (item: T) => string): T[];
}

/** Shows the values of one request, by the mask of its principal. */
export function presenterOf(mask: Mask): Presenter {
  return {
    user: (name) => mask.user(plainOf(name)),
    session: (row) => ({
      ...row,
      user: mask.user(plainOf(row.user)),
      source_ip: mask.address(plainOf(row.source_ip)),
    }),
    key(field, stored) {
      const text = plainOf(stored);
      switch (field) {
        case 'user':
          return mask.user(text);
        case 'source_ip':
          return mask.address(text);
        case 'dest_port':
          return Number(text);
        case 'acl_rule_matched':
        case 'dest_ip':
        case 'egress_ip':
          return text === '' ? null : text;
        case 'dest_host':
        case 'protocol':
        case 'proxy_id':
        case 'close_reason':
        case 'status':
          return text;
      }
    },
    ranked: (items, isTie, user) =>
      mask.users === 'none' ? [...items] : tiesInOrder(items, isTie, user),
  };
}

/** How the keys of a list are shown by SQL; null if they are shown as they are. */
export function shownKeysOf(field: TopField | 'flow', mask: Mask): ShownKeys | null {
  const { params } = mask;
  if (field === 'user' && mask.users !== 'none') {
    return { sql: (key) => mask.userSql(key), merges: false, params };
  }
  if (field === 'flow' && mask.users !== 'none') {
    return {
      sql: (key) => `tuple(${mask.userSql(`${key}.1`)}, ${key}.2, ${key}.3)`,
      merges: false,
      params,
    };
  }
  if (field === 'source_ip' && mask.addresses !== 'none') {
    // The row of the total has no address.
    const sql = (key: string) => mask.addressSql(`toIPv6OrDefault(${key})`);
    return { sql, merges: mask.addresses === 'truncate', params };
  }
  return null;
}

function tiesInOrder<T>(
  items: readonly T[],
  isTie: (a: T, b: T) => boolean,
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
