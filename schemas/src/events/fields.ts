/**
 * The one table of the contract's fields: a field is declared here and nowhere else.
 *
 * At run time these are made from it: the zod schemas of the events, the JSON Schema files, the row of
 * the oracle, the API's session object with its example, the CSV header, the OpenAPI descriptions, the
 * plain filters, and the lists of columns in the statements of ingest and query. `npm run generate`
 * makes from it the parts that must be straight code for speed: the proxy's encoder, ingest's scanner and
 * ingest's columns. Migrations and `verify` are written by hand, and tests compare them with it.
 *
 * To add a field:
 * 1. Add an entry with `added(orNull(…))`, so that events from before stay valid. The entry's place is
 *    its place in the API's session object and in the CSV header. In an event it stands with the other
 *    fields of its `part`.
 * 2. Run `npm run generate` and commit the changes.
 * 3. Add a migration with the column that `columnsOf` names. A test names missing ones.
 * 4. Set it in the proxy, at the places that the compiler names, and compare it in ingest's
 * `verify`.
 *
 * Longer than 400 lines: a second file would be a second place in which a field is declared.
 */
import {
  ACL_DECISIONS,
  AUTH_METHODS,
  COMMANDS,
  PROTOCOLS,
  SESSION_EVENT_TYPES,
} from './choices.js';
import { CLOSE_REASONS, FINAL_STATUSES } from './close-reason.js';
import { EVENT_LIMITS } from './limits.js';
import { added, address, choice, count, flag, fourCounters, integer, label } from './values.js';
import { orNull, port, text, time, uuid } from './values.js';
import type { Value } from './values.js';

/**
 * The part of an event that has the field. Parts are in the order of the event.
 * - `envelope`, `identity`, `origin`, `header`, `totals`: in every event.
 * - `interval`: in TrafficDelta and SessionClosed.
 * - `closing`: in SessionClosed.
 * - `row`: in no event; ingest derives it for the tables of sessions.
 */
export const PARTS = [
  'envelope',
  'identity',
  'origin',
  'header',
  'totals',
  'interval',
  'closing',
  'row',
] as const;
export type Part = (typeof PARTS)[number];

export interface Field {
  readonly part: Part;
  readonly value: Value;
  /** The meaning and the unit, for the JSON Schema, the OpenAPI document and readers of this table. */
  readonly description: string;
  /** Value in the example session of the OpenAPI document. */
  readonly example?: string | number | null;
  /** Not in the API's session object. `envelope` and `interval` never are. */
  readonly internal?: true;
  /** Shown in the timeline of a session, besides the fields of every timeline. */
  readonly timeline?: true;
  /** Stored in `session_traffic_1m`. Such a field never changes within a session. */
  readonly traffic?: true;
  /**
   * Which plain filter the API has for it:
   * - `equals`: one value.
   * - `one_of`: one or several values.
   * - `suffix`: the same, and `*.example.com` for every name below example.com.
   * - `cidr`: one or several addresses or CIDR blocks.
   */
  readonly filter?: 'equals' | 'one_of' | 'suffix' | 'cidr';
  /**
   * How a header field may change within a session; by default never.
   * - `once`: from null to a value.
   * - `until_end`: as often as it takes.
   */
  readonly changes?: 'once' | 'until_end';
  /** The first codec of the column in the tables of sessions, before ZSTD, if not the kind's. */
  readonly codec?: 'T64' | 'Delta' | 'DoubleDelta' | 'none';
}

/** All fields, in the order of the API's session object and the CSV header. */
export const FIELDS = {
  type: {
    part: 'envelope',
    value: choice(SESSION_EVENT_TYPES),
    description: 'the kind of event',
  },
  schema_version: {
    part: 'envelope',
    value: integer(1, 65_535),
    description: 'major version of the contract',
  },
  occurred_at: {
    part: 'envelope',
    value: time(),
    description: "time of the event by the proxy's clock; never before started_at",
  },
  session_id: {
    part: 'identity',
    value: uuid(),
    description: 'UUIDv7 in lower case whose time is started_at',
    example: '019c0f6e-7a00-7c3e-9d51-0a4b6c8d0e1f',
    traffic: true,
  },
  seq: {
    part: 'identity',
    value: integer(0, 2_147_483_647),
    description: '0, 1, 2 … within the session; 0 is SessionStarted and nothing else',
    internal: true,
  },
  started_at: {
    part: 'header',
    value: time(),
    description: 'when the request was understood',
    example: '2026-01-31T12:00:00.000Z',
    traffic: true,
    codec: 'DoubleDelta',
  },
  ended_at: {
    part: 'closing',
    value: time(),
    description: 'when it ended',
    example: '2026-01-31T12:00:04.250Z',
  },
  updated_at: {
    part: 'row',
    value: time(),
    description: "time of the session's latest event",
    example: '2026-01-31T12:00:04.250Z',
  },
  duration_ms: {
    part: 'closing',
    value: count(),
    description: 'from start to end, in milliseconds',
    example: 4_250,
  },
  status: {
    part: 'closing',
    value: choice(FINAL_STATUSES),
    description: 'how it ended; follows from close_reason',
    example: 'closed',
    timeline: true,
    filter: 'one_of',
  },
  close_reason: {
    part: 'closing',
    value: choice(CLOSE_REASONS),
    description: 'the reason for the end of the session',
    example: 'client_eof',
    timeline: true,
    filter: 'one_of',
  },
  error_code: {
    part: 'closing',
    value: orNull(label(EVENT_LIMITS.error_code_chars)),
    description: 'errno or SOCKS reply, null if there is none',
    example: null,
    timeline: true,
  },
  user: {
    part: 'header',
    value: text(EVENT_LIMITS.user_chars),
    description: 'name of the client; anonymous without authentication',
    example: 'alice',
    traffic: true,
    filter: 'one_of',
  },
  source_ip: {
    part: 'header',
    value: address(),
    description: 'address of the client',
    example: '192.0.2.10',
    traffic: true,
    filter: 'cidr',
  },
  source_port: {
    part: 'header',
    value: port(),
    description: 'port of the client',
    example: 51_234,
  },
  dest_host: {
    part: 'header',
    value: text(EVENT_LIMITS.dest_host_chars),
    description: 'name or address that the client requested',
    example: 'example.com',
    traffic: true,
    filter: 'suffix',
  },
  dest_ip: {
    part: 'header',
    value: orNull(address()),
    description: 'the address connected to, null if none',
    example: '93.184.215.14',
    filter: 'cidr',
    changes: 'once',
  },
  dest_port: {
    part: 'header',
    value: port(),
    description: 'port of the destination',
    example: 443,
    traffic: true,
    filter: 'one_of',
  },
  egress_ip: {
    part: 'header',
    value: added(orNull(address())),
    description: 'local address from which the proxy reached the destination, null until connected',
    example: '203.0.113.7',
    filter: 'cidr',
    timeline: true,
    changes: 'once',
  },
  egress_port: {
    part: 'header',
    value: added(orNull(port())),
    description: 'local port from which the proxy reached the destination, null until connected',
    example: 40_112,
    filter: 'one_of',
    timeline: true,
    changes: 'once',
  },
  protocol: {
    part: 'header',
    value: choice(PROTOCOLS),
    description: 'tcp or udp',
    example: 'tcp',
    traffic: true,
    filter: 'equals',
  },
  command: {
    part: 'header',
    value: choice(COMMANDS),
    description: 'the command of the SOCKS request',
    example: 'connect',
    filter: 'equals',
  },
  auth_method: {
    part: 'header',
    value: choice(AUTH_METHODS),
    description: 'how the client authenticated',
    example: 'password',
  },
  acl_decision: {
    part: 'header',
    value: choice(ACL_DECISIONS),
    description: 'decision of the access rules',
    example: 'allow',
    filter: 'equals',
    changes: 'until_end',
  },
  acl_rule_matched: {
    part: 'header',
    value: orNull(label(EVENT_LIMITS.acl_rule_chars)),
    description: 'name of the rule that decided, null if none did',
    example: null,
    filter: 'one_of',
    changes: 'until_end',
  },
  connect_ms: {
    part: 'closing',
    value: orNull(count()),
    description: 'milliseconds until the connection was made or failed; null if it was not tried',
    example: 12,
  },
  assumed: {
    part: 'closing',
    value: flag(),
    description:
      'true: another process ended the session because the proxy died. Any other event with the same seq wins',
    internal: true,
  },
  bytes_sent: {
    part: 'totals',
    value: count(),
    description: 'payload bytes, client to destination, since the session began',
    example: 1_830,
  },
  bytes_received: {
    part: 'totals',
    value: count(),
    description: 'payload bytes, destination to client, since the session began',
    example: 924_113,
  },
  packets_sent: {
    part: 'totals',
    value: count(),
    description: 'client to destination: datagrams for UDP, reads from the socket for TCP',
    example: 14,
  },
  packets_received: {
    part: 'totals',
    value: count(),
    description: 'destination to client: datagrams for UDP, reads from the socket for TCP',
    example: 98,
  },
  proxy_id: {
    part: 'origin',
    value: label(EVENT_LIMITS.proxy_id_chars),
    description: 'the proxy that served the session',
    example: 'proxy-1',
    traffic: true,
    filter: 'one_of',
  },
  proxy_epoch: {
    part: 'origin',
    value: integer(EVENT_LIMITS.earliest_ms, EVENT_LIMITS.latest_ms),
    description: 'start of that proxy process, milliseconds since 1970',
    internal: true,
    codec: 'none',
  },
  interval_start: {
    part: 'interval',
    value: time(),
    description: 'start of the interval that delta covers',
  },
  interval_end: {
    part: 'interval',
    value: time(),
    description: 'its end, exclusive; the interval lies within one UTC minute',
  },
  delta: {
    part: 'interval',
    value: fourCounters(),
    description: 'traffic in the interval; at most minute',
  },
  minute: {
    part: 'interval',
    value: fourCounters(),
    description: 'traffic in the UTC minute, up to the end of the interval; at most the totals',
  },
  version: {
    part: 'row',
    value: integer(0, 4_294_967_295),
    description:
      'the highest wins: seq * 2, minus 1 for an assumed end, or seq * 2 + 1 for a row that ingest wrote',
    internal: true,
  },
} as const satisfies Record<string, Field>;

type Fields = typeof FIELDS;
export type FieldName = keyof Fields;

/** The names of the fields of some parts. */
export type NameIn<P extends Part> = {
  [N in FieldName]: Fields[N]['part'] extends P ? N : never;
}[FieldName];

/** The zod schemas of the fields of some parts, by name. */
export type ShapeOf<P extends Part> = { readonly [N in NameIn<P>]: Fields[N]['value']['zod'] };

type RowPart = 'identity' | 'origin' | 'header' | 'totals' | 'closing' | 'row';

/** The fields of the API's session object. */
export type SessionField = {
  [N in NameIn<RowPart>]: Fields[N] extends { readonly internal: true } ? never : N;
}[NameIn<RowPart>];

/** The fields that the API can filter by as they are. */
export type FilterField = {
  [N in FieldName]: Fields[N] extends { readonly filter: string } ? N : never;
}[FieldName];

/** The fields that a session's timeline shows of each event, besides the fields of every timeline. */
export type TimelineField = {
  [N in FieldName]: Fields[N] extends { readonly timeline: true } ? N : never;
}[FieldName];

/** The fields of the header that may change within a session. */
export type ChangingField = {
  [N in FieldName]: Fields[N] extends { readonly changes: string } ? N : never;
}[FieldName];

/** The fields that are times. */
export type TimeField = {
  [N in FieldName]: Fields[N]['value']['kind'] extends 'time' ? N : never;
}[FieldName];

export function fieldOf(name: FieldName): Field {
  return FIELDS[name];
}

export const FIELD_NAMES = Object.keys(FIELDS) as FieldName[];

/** The fields of these parts, part after part as they stand in an event. */
export function namesIn<P extends Part>(...parts: readonly P[]): NameIn<P>[] {
  return PARTS.filter((part) => parts.some((each) => each === part)).flatMap((part) =>
    FIELD_NAMES.filter((name) => FIELDS[name].part === part),
  ) as NameIn<P>[];
}

/** The shape of these parts, for a zod object. */
export function shapeOf<P extends Part>(...parts: readonly P[]): ShapeOf<P> {
  return Object.fromEntries(
    namesIn(...parts).map((name) => {
      const { value, description } = fieldOf(name);
      return [name, value.zod.describe(description)];
    }),
  ) as unknown as ShapeOf<P>;
}

const ROW_NAMES: ReadonlySet<string> = new Set(
  namesIn('identity', 'origin', 'header', 'totals', 'closing', 'row'),
);

/** The fields of the API's session object and the CSV header, in their order. */
export const SESSION_FIELDS = FIELD_NAMES.filter(
  (name) => ROW_NAMES.has(name) && fieldOf(name).internal !== true,
) as SessionField[];

export const FILTER_FIELDS = FIELD_NAMES.filter(
  (name) => fieldOf(name).filter !== undefined,
) as FilterField[];

export const TIMELINE_FIELDS = FIELD_NAMES.filter(
  (name) => fieldOf(name).timeline === true,
) as TimelineField[];

/** The session that the examples of the OpenAPI document are about. */
export const EXAMPLE_SESSION = Object.fromEntries(
  SESSION_FIELDS.map((name) => [name, fieldOf(name).example]),
) as {
  readonly [N in SessionField]: Fields[N] extends { readonly example: infer E } ? E : never;
};
