import { createHash, createHmac } from 'node:crypto';
import { ANONYMOUS_USER } from '@sockscope/schemas';
import { plainAddressSql } from '@sockscope/schemas/sums';
import ipaddr from 'ipaddr.js';
import { LRUCache } from 'lru-cache';
import { mapped, MAPPED_BITS, parsedAddress } from '../filters/addresses.js';
import type { SqlParams } from '../sql/query.js';
import type { MaskConfig } from './config.js';

/** The replacements for users and source addresses that a principal sees. */
export interface Mask {
  readonly users: 'none' | 'hmac';
  readonly addresses: 'none' | 'truncate' | 'hmac';
  user(name: string): string;
  address(ip: string): string;
  /** The same as SQL over a column, for exports that ClickHouse writes itself. */
  userSql(expression: string): string;
  addressSql(expression: string): string;
  /** The values that the SQL binds. */
  readonly params: SqlParams;
}

/** Shows everything as it is. */
export const NO_MASK: Mask = {
  users: 'none',
  addresses: 'none',
  user: (name) => name,
  address: (ip) => ip,
  userSql: (expression) => expression,
  addressSql: shownSql,
  params: {},
};

const USER_PREFIX = 'u_';
const ADDRESS_PREFIX = 'ip_';
/** 64 bits: two of a million names share a token once in 10^7 deployments. */
const TOKEN_HEX = 16;
const REMEMBERED_MAX = 50_000;
/** Prefixes that are shown: a network, not a machine. */
export const SHOWN_BITS = { ipv4: 24, ipv6: 48 } as const;

/** @param expression over an IPv6 column. */
function shownSql(expression: string): string {
  return plainAddressSql(`toString(${expression})`);
}

/** Whether a text has the form of a masked user. */
export function isUserToken(text: string): boolean {
  return /^u_[0-9a-f]{16}$/.test(text);
}

/** The network that an address lies in, as its first address. */
export function truncateAddress(ip: string): string {
  const address = mapped(parsedAddress(ip));
  const isV4 = address.isIPv4MappedAddress();
  const shown = (isV4 ? MAPPED_BITS + SHOWN_BITS.ipv4 : SHOWN_BITS.ipv6) / 8;
  const cut = new ipaddr.IPv6(address.toByteArray().map((byte, i) => (i < shown ? byte : 0)));
  return isV4 ? cut.toIPv4Address().toString() : cut.toRFC5952String();
}

export function createMask(config: MaskConfig): Mask {
  const hmac = (domain: string, text: string) =>
    createHmac('sha256', config.key).update(`${domain}${text}`).digest('hex').slice(0, TOKEN_HEX);
  const pads = hmacPads(config.key);
  // HMAC by its definition (RFC 2104), because not every ClickHouse has it as a function.
  const hmacSql = (domain: string, expression: string) =>
    `lower(substring(hex(SHA256(concat(unhex({mask_outer:String}), SHA256(concat(unhex({mask_inner:String}), '${domain}', ${expression}))))), 1, ${TOKEN_HEX}))`;
  return {
    users: config.users,
    addresses: config.addresses,
    user:
      config.users === 'none'
        ? (name) => name
        : madeOnce((name) =>
            name === ANONYMOUS_USER ? name : `${USER_PREFIX}${hmac('user:', name)}`,
          ),
    address:
      config.addresses === 'none'
        ? (ip) => ip
        : madeOnce((ip) =>
            config.addresses === 'truncate'
              ? truncateAddress(ip)
              : `${ADDRESS_PREFIX}${hmac('address:', ip)}`,
          ),
    userSql: (expression) =>
      config.users === 'none'
        ? expression
        : `if(${expression} = '${ANONYMOUS_USER}', ${expression}, concat('${USER_PREFIX}', ${hmacSql('user:', expression)}))`,
    addressSql(expression) {
      switch (config.addresses) {
        case 'none':
          return shownSql(expression);
        case 'truncate':
          return shownSql(
            `if(isIPAddressInRange(toString(${expression}), '::ffff:0:0/96'), IPv6CIDRToRange(${expression}, ${96 + SHOWN_BITS.ipv4}).1, IPv6CIDRToRange(${expression}, ${SHOWN_BITS.ipv6}).1)`,
          );
        case 'hmac':
          return `concat('${ADDRESS_PREFIX}', ${hmacSql('address:', shownSql(expression))})`;
      }
    },
    params:
      config.users === 'hmac' || config.addresses === 'hmac'
        ? { mask_outer: pads.outer, mask_inner: pads.inner }
        : {},
  };
}

/** Remembers replacements: one takes microseconds, and the live view needs that of every open session each second. */
function madeOnce(make: (text: string) => string): (text: string) => string {
  const made = new LRUCache<string, string>({ max: REMEMBERED_MAX });
  return (text) => {
    let replacement = made.get(text);
    if (replacement === undefined) {
      replacement = make(text);
      made.set(text, replacement);
    }
    return replacement;
  };
}

const BLOCK_BYTES = 64;

/** The key mixed with the two paddings of HMAC, in hexadecimal. */
function hmacPads(key: string): { readonly outer: string; readonly inner: string } {
  const raw = Buffer.from(key);
  const short = raw.length > BLOCK_BYTES ? createHash('sha256').update(raw).digest() : raw;
  const block = Buffer.alloc(BLOCK_BYTES);
  short.copy(block);
  const mixed = (pad: number) => Buffer.from(block.map((byte) => byte ^ pad)).toString('hex');
  return { outer: mixed(0x5c), inner: mixed(0x36) };
}
