import type { SessionRow } from '@sockscope/schemas';
import { PROTOCOLS } from '@sockscope/schemas';
import { FILTER_NAMES } from '@sockscope/schemas/api';
import type { FilterName } from '@sockscope/schemas/api';
import { DAY_MS, floorTo, HOUR_MS, MINUTE_MS } from '@sockscope/schemas/sums';
import type { Random } from '@sockscope/schemas/testing';
import ipaddr from 'ipaddr.js';
import type { Predicate } from './truth.js';
import type { World } from './world.js';

/** Makes random filters and ranges, with a predicate of its own for each filter. */

type Parameter = readonly [name: string, value: string];

export interface RandomFilters {
  readonly parameters: readonly Parameter[];
  readonly matches: Predicate;
}

export const pickOf = <T>(random: Random, from: readonly T[]): T => {
  const picked = from[Math.floor(random() * from.length)];
  if (picked === undefined) throw new TypeError('there is nothing to pick from');
  return picked;
};

interface Made {
  readonly values: readonly (string | number)[];
  readonly matches: Predicate;
}

/** @param like sessions whose values are asked for: at least one. */
type Maker = (like: readonly SessionRow[], random: Random) => Made;

const bytesOf = (row: SessionRow) => row.bytes_sent + row.bytes_received;
const durationOf = (row: SessionRow) =>
  row.duration_ms ?? Date.parse(row.updated_at) - Date.parse(row.started_at);

function valuesOf(of: (row: SessionRow) => string | number | null): Maker {
  return (like) => {
    const values = [...new Set(like.map((row) => of(row) ?? ''))];
    return { values, matches: (row) => values.includes(of(row) ?? '') };
  };
}

function oneOf(of: (row: SessionRow) => string): Maker {
  return ([first]) => {
    const value = first === undefined ? '' : of(first);
    return { values: [value], matches: (row) => of(row) === value };
  };
}

/** An address as it is, none at all, or a block around it. */
function blockOf(of: (row: SessionRow) => string | null): Maker {
  return ([first], random) => {
    const address = first === undefined ? null : of(first);
    if (address === null) return { values: [''], matches: (row) => of(row) === null };
    const bits = ipaddr.parse(address).kind() === 'ipv4' ? 32 : 128;
    const prefix = bits - Math.floor(random() * 9);
    const block = random() < 0.5 ? address : `${address}/${prefix}`;
    const low = ipaddr.parse(address);
    const inBlock = (text: string) => {
      const other = ipaddr.parse(text);
      return other.kind() === low.kind() && other.match(low, prefix);
    };
    return {
      values: [block],
      matches: (row) => {
        const own = of(row);
        return own !== null && (block === address ? own === address : inBlock(own));
      },
    };
  };
}

function hostOf(like: readonly SessionRow[], random: Random): Made {
  const [first] = like;
  const host = first?.dest_host ?? '';
  const labels = host.split('.');
  if (random() < 0.6 || labels.length < 2) return valuesOf((row) => row.dest_host)(like, random);
  const suffix = `.${labels.slice(1).join('.')}`;
  return { values: [`*${suffix}`], matches: (row) => row.dest_host.endsWith(suffix) };
}

function boundOf(of: (row: SessionRow) => number, end: 'least' | 'most'): Maker {
  return ([first]) => {
    const bound = first === undefined ? 0 : of(first);
    return {
      values: [bound],
      matches: (row) => (end === 'least' ? of(row) >= bound : of(row) <= bound),
    };
  };
}

/** A filter that is added to the API does not compile without an entry here. */
const MAKERS: Readonly<Record<FilterName, Maker>> = {
  user: valuesOf((row) => row.user),
  dest_host: hostOf,
  dest_ip: blockOf((row) => row.dest_ip),
  source_ip: blockOf((row) => row.source_ip),
  egress_ip: blockOf((row) => row.egress_ip),
  dest_port: valuesOf((row) => row.dest_port),
  egress_port: valuesOf((row) => row.egress_port),
  status: valuesOf((row) => row.status),
  close_reason: (like, random) => {
    const ended = like.filter((row) => row.close_reason !== null);
    return ended.length === 0
      ? { values: ['lost'], matches: (row) => row.close_reason === 'lost' }
      : valuesOf((row) => row.close_reason)(ended, random);
  },
  acl_rule_matched: valuesOf((row) => row.acl_rule_matched),
  proxy_id: valuesOf((row) => row.proxy_id),
  protocol: (_like, random) => {
    const value = pickOf(random, PROTOCOLS);
    return { values: [value], matches: (row) => row.protocol === value };
  },
  command: oneOf((row) => row.command),
  acl_decision: oneOf((row) => row.acl_decision),
  min_duration_ms: boundOf(durationOf, 'least'),
  max_duration_ms: boundOf(durationOf, 'most'),
  min_bytes: boundOf(bytesOf, 'least'),
  max_bytes: boundOf(bytesOf, 'most'),
};

/** None, one or a few filters that some sessions pass. */
export function randomFilters(random: Random, world: World): RandomFilters {
  const count = pickOf(random, [0, 0, 1, 1, 1, 2, 3]);
  const names = new Set(Array.from({ length: count }, () => pickOf(random, FILTER_NAMES)));
  // Two bounds of one thing may exclude each other, which is refused.
  for (const of of ['duration_ms', 'bytes'] as const) {
    if (names.has(`min_${of}`)) names.delete(`max_${of}`);
  }
  const like = Array.from({ length: 1 + Math.floor(random() * 3) }, () =>
    pickOf(random, world.sessions),
  );
  const made = [...names].map((name) => ({ name, ...MAKERS[name](like, random) }));
  return {
    parameters: made.flatMap(({ name, values }) =>
      values.map((value): Parameter => [name, String(value)]),
    ),
    matches: (row) => made.every(({ matches }) => matches(row)),
  };
}

/** One end of a range: as it is requested, and the conditions of the moment that it means. */
interface End {
  readonly text: string;
  readonly ms: number;
}

/** The first moment of a date, found without the code under test: by looking at the clock of the zone. */
function startOfDate(date: string, zone: string): number {
  const shown = new Intl.DateTimeFormat('sv-SE', { timeZone: zone });
  let low = Date.parse(date) - DAY_MS;
  let high = Date.parse(date) + DAY_MS;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (shown.format(middle) >= date) high = middle;
    else low = middle;
  }
  return high;
}

function randomEnd(
  random: Random,
  world: World,
  span: { fromMs: number; toMs: number },
  zone: string,
): End {
  const { fromMs, toMs } = span;
  const anyMs = fromMs + Math.floor(random() * (toMs - fromMs));
  const exactly = (ms: number): End => ({ text: String(ms), ms });
  const row = pickOf(random, world.sessions);
  const startedMs = Date.parse(row.started_at);
  switch (Math.floor(random() * 8)) {
    case 0:
      return exactly(anyMs);
    case 1:
      return exactly(floorTo(anyMs, MINUTE_MS));
    case 2:
      return exactly(floorTo(anyMs, HOUR_MS / 2));
    case 3:
      return exactly(floorTo(anyMs, HOUR_MS));
    case 4:
      return exactly(floorTo(anyMs, DAY_MS));
    case 5: {
      const date = new Date(anyMs).toISOString().slice(0, 10);
      return { text: date, ms: startOfDate(date, zone) };
    }
    case 6:
      return exactly(startedMs >= fromMs ? startedMs : anyMs);
    default: {
      const endedMs = row.ended_at === null ? anyMs : Date.parse(row.ended_at);
      return exactly(endedMs >= fromMs ? endedMs : anyMs);
    }
  }
}

/** Both ends of a range within a span. Borders lie on sessions, minutes, hours, days and dates of the zone. */
export function randomRange(
  random: Random,
  world: World,
  span: { readonly fromMs: number; readonly toMs: number },
  zone: string,
): { readonly from: End; readonly to: End } {
  for (;;) {
    const [a, b] = [randomEnd(random, world, span, zone), randomEnd(random, world, span, zone)];
    if (a.ms !== b.ms) return a.ms < b.ms ? { from: a, to: b } : { from: b, to: a };
  }
}
