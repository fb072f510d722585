import { COUNTER_NAMES } from '../events/counters.js';
import { namesIn } from '../events/fields.js';
import type { FieldName } from '../events/fields.js';
import { generatedBy, importLine } from './generated-by.js';

const HEADER = namesIn('header').filter((name) => name !== 'started_at');
const INTERVAL = namesIn('interval');
const CLOSING = namesIn('closing');

function union(names: readonly FieldName[]): string {
  return names.map((name) => `'${name}'`).join(' | ');
}

function builder(
  type: string,
  ...parts: (readonly [part: string, names: readonly string[]])[]
): string {
  const lines = parts.map(
    ([part, names]) => `    ${names.map((name) => `${name}: ${part}.${name},`).join(' ')}`,
  );
  return `    type: '${type}',
    schema_version: SCHEMA_VERSION,
${lines.join('\n')}`;
}

const COMMON = [
  ['moment', ['occurred_at', 'session_id', 'seq']],
  ['origin', namesIn('origin')],
  ['moment', ['started_at']],
  ['header', HEADER],
  ['totals', COUNTER_NAMES],
] as const;

/** How the proxy makes events of the parts that it keeps apart. */
export function buildersSource(): string {
  return `${generatedBy('builders')}
${importLine('{ SCHEMA_VERSION }', '@sockscope/schemas')}
${importLine('type { Counters, SessionClosed, SessionStarted, TrafficDelta }', '@sockscope/schemas')}

/** The facts of a session when its request is understood: the header of its events, less the clock. */
export type SessionHeader = Pick<SessionStarted, ${union(HEADER)}>;

/** The values that differ from event to event of a session, and its start. */
type Moment = Pick<SessionStarted, 'occurred_at' | 'session_id' | 'started_at'> & { readonly seq: number };

interface StartedParts {
  readonly moment: Moment;
  readonly origin: Pick<SessionStarted, ${union(namesIn('origin'))}>;
  readonly header: SessionHeader;
  readonly totals: Counters;
}

interface DeltaParts extends StartedParts {
  readonly interval: Pick<TrafficDelta, ${union(INTERVAL)}>;
}

interface ClosedParts extends DeltaParts {
  readonly closing: Pick<SessionClosed, ${union(CLOSING)}>;
}

/** Written out, because spreading objects into one with this many fields costs ten times as much. */
export function startedEvent({ moment, origin, header, totals }: StartedParts): SessionStarted {
  return {
${builder('SessionStarted', ...COMMON)}
  };
}

export function deltaEvent({ moment, origin, header, totals, interval }: DeltaParts): TrafficDelta {
  return {
${builder('TrafficDelta', ...COMMON, ['interval', INTERVAL])}
  };
}

export function closedEvent({ moment, origin, header, totals, interval, closing }: ClosedParts): SessionClosed {
  return {
${builder('SessionClosed', ...COMMON, ['interval', INTERVAL], ['closing', CLOSING])}
  };
}
`;
}
