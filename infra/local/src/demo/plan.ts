import {
  DESTINATIONS,
  DOWN,
  FLAKY,
  PEOPLE,
  REFUSED,
  UNKNOWN_HOSTS,
  addressOf,
  type Destination,
  type Kind,
  type Land,
  type Person,
} from './cast.js';
import { volumeOf, type Volume } from './kinds.js';
import { oneOf, pick, type Random } from './random.js';

/** The plan of one connection. The live traffic carries it out, the history records it. */
export interface Plan {
  /** Null: the client does not log in. */
  readonly user: string | null;
  readonly source: string;
  readonly host: string;
  /** The address of the name; null if it is unknown or the rules block it. */
  readonly ip: string | null;
  readonly port: number;
  readonly outcome: 'served' | 'broken_off' | 'refused' | 'unknown' | 'blocked';
  /** The rule that blocks. */
  readonly rule: string | null;
  /** The side that ends it, if it is served. */
  readonly endedBy: 'client' | 'destination';
  readonly volume: Volume;
}

const NOTHING: Volume = { sent: 0, received: 0, durationMs: 0, busy: 1 };
/** Parts of all connections; the others are served. */
const SHARES = { blocked: 0.035, refused: 0.015, unknown: 0.01, brokenOff: 0.01 } as const;
const ANONYMOUS_SHARE = 0.03;
const AWAY_SHARE = 0.3;

/** The next connection of a user, at random. */
export function planOf(random: Random, land: Land): Plan {
  const person = pick(random, PEOPLE);
  const who = clientOf(random, person);
  const fate = random();
  if (fate < SHARES.blocked) return { ...blocked(random, person, land), ...who };
  if (fate < SHARES.blocked + SHARES.refused) return { ...refused(DOWN, land), ...who };
  if (fate < SHARES.blocked + SHARES.refused + SHARES.unknown) {
    return { ...unknown(oneOf(random, UNKNOWN_HOSTS), land), ...who };
  }
  if (fate > 1 - SHARES.brokenOff) {
    return { ...visit(random, FLAKY, land), outcome: 'broken_off', ...who };
  }
  return { ...visit(random, pick(random, placesOf(person)), land), ...who };
}

/** The same for one kind of use only. */
export function planOfKind(random: Random, kind: Kind, land: Land): Plan {
  const places = DESTINATIONS.filter((each) => each.kind === kind);
  const place = pick(random, places);
  const people = PEOPLE.filter((person) => placesOf(person).includes(place));
  return { ...visit(random, place, land), ...clientOf(random, pick(random, people)) };
}

/** A visit with a volume of its own; `user` and `source` are the visitor's. */
export function visitOf(
  who: Pick<Plan, 'user' | 'source'>,
  place: Destination,
  land: Land,
  volume: Volume,
): Plan {
  return { ...served(place, land, volume, 'client'), ...who };
}

/** An attempt to reach an address on which nothing listens. */
export function attemptOf(who: Pick<Plan, 'user' | 'source'>, ip: string, port: number): Plan {
  const nobody = { host: ip, ip, rule: null, endedBy: 'client', volume: NOTHING } as const;
  return { ...nobody, ...who, port, outcome: 'refused' };
}

/** A message to a mail server, which the rules do not let through. */
export function mailOf(who: Pick<Plan, 'user' | 'source'>, host: string): Plan {
  const blockedMail = { outcome: 'blocked', rule: 'no direct mail', ip: null, port: 25 } as const;
  return { ...who, host, ...blockedMail, endedBy: 'client', volume: NOTHING };
}

type Trip = Omit<Plan, 'user' | 'source'>;

const PLACES_OF = new Map(
  PEOPLE.map(({ name, team }) => [
    name,
    DESTINATIONS.filter(
      // Machines do their one task and nothing else.
      ({ teams }) => teams?.includes(team) ?? team !== 'machines',
    ),
  ]),
);

function placesOf({ name }: Person): readonly Destination[] {
  return PLACES_OF.get(name) ?? [];
}

function clientOf(random: Random, { name, sources }: Person): Pick<Plan, 'user' | 'source'> {
  const [desk, ...others] = sources;
  const source = others.length > 0 && random() < AWAY_SHARE ? oneOf(random, others) : desk;
  const isAnonymous = random() < ANONYMOUS_SHARE;
  return isAnonymous ? { user: null, source: '127.45.0.99' } : { user: name, source };
}

function visit(random: Random, place: Destination, land: Land): Trip {
  const volume = volumeOf(random, place.kind);
  return served(place, land, volume, random() < 0.55 ? 'client' : 'destination');
}

function served(place: Destination, land: Land, volume: Volume, endedBy: Plan['endedBy']): Trip {
  const { host, service } = place;
  const at = { host, ip: addressOf(place, land), port: land.ports[service] };
  return { ...at, outcome: 'served', rule: null, endedBy, volume };
}

function refused(place: Destination, land: Land): Trip {
  return { ...served(place, land, NOTHING, 'client'), outcome: 'refused' };
}

function unknown(host: string, land: Land): Trip {
  const port = land.ports.https;
  return {
    host,
    ip: null,
    port,
    outcome: 'unknown',
    rule: null,
    endedBy: 'client',
    volume: NOTHING,
  };
}

function blocked(random: Random, { team }: Person, land: Land): Trip {
  const destination = pick(
    random,
    REFUSED.filter(({ teams }) => teams?.includes(team) ?? true),
  );
  const { host, rule } = destination;
  const port =
    typeof destination.port === 'number' ? destination.port : land.ports[destination.port];
  return { host, ip: null, port, outcome: 'blocked', rule, endedBy: 'client', volume: NOTHING };
}
