/** Numbers of RFC 1928 and RFC 1929. */
export const SOCKS_VERSION = 5;
/** Version of the username/password sub-negotiation (RFC 1929, section 2). */
export const PASSWORD_VERSION = 1;

/** RFC 1928, section 3. */
export const METHOD = { none: 0x00, password: 0x02, unacceptable: 0xff } as const;

/** RFC 1928, section 4. */
export const COMMAND = { connect: 1, bind: 2, udp_associate: 3 } as const;

/** RFC 1928, section 5. */
export const ADDRESS_TYPE = { ipv4: 1, name: 3, ipv6: 4 } as const;

/** RFC 1928, section 6. */
export const REPLY = {
  succeeded: 0,
  general_failure: 1,
  not_allowed: 2,
  network_unreachable: 3,
  host_unreachable: 4,
  connection_refused: 5,
  ttl_expired: 6,
  command_not_supported: 7,
  address_type_not_supported: 8,
} as const;

export type ReplyName = keyof typeof REPLY;
export type FailureName = Exclude<ReplyName, 'succeeded'>;
export const REPLY_NAMES = Object.keys(REPLY) as ReplyName[];
