import { z } from 'zod';
import { sessionClosed, sessionStarted, trafficDelta } from '../events/events.js';
import { fieldOf, namesIn } from '../events/fields.js';
import { EVENT_LIMITS, SCHEMA_VERSION } from '../events/limits.js';

/** The fields of the header that change so. */
function listed(changes: 'once' | 'until_end' | undefined): string {
  const names = namesIn('header').filter((name) => fieldOf(name).changes === changes);
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`;
}

/** The rules of every event that JSON Schema cannot express. */
const RULES = [
  'The record key is session_id, so that the events of a session stay in order in one partition.',
  `The value has at most ${EVENT_LIMITS.event_bytes} bytes of UTF-8. Texts hold no lone surrogates.`,
  'Times exist and are in the years 2020 to 2099. started_at is the time in session_id, to the millisecond. No event is earlier.',
  'seq counts 0, 1, 2 … within the session. It is 0 in SessionStarted and nowhere else. (session_id, seq) identifies an event permanently: a repeated event is identical.',
  'Totals never shrink within a session.',
  `${listed(undefined)} never change within a session. ${listed('once')} change once, from null to a value. ${listed('until_end')} may change until the end.`,
];
const INTERVAL_RULES = [
  'interval_start is not before the UTC minute of started_at. interval_end is not before interval_start. Both are in one UTC minute: end an interval when the minute ends.',
  'For each counter, delta is at most minute, and minute is at most the total. minute is cumulative within the UTC minute of the interval.',
];
const HEARTBEAT =
  'An open session sends one at least every 30 seconds, with a delta of zeros if nothing moved. A session without events is declared lost after a while.';

const EVENTS = {
  'session-started': {
    schema: sessionStarted,
    description: 'The proxy understood a request and has not connected yet. Totals are 0.',
    rules: [],
  },
  'traffic-delta': {
    schema: trafficDelta,
    description: `Traffic of an open session in an interval, and in total. ${HEARTBEAT}`,
    rules: INTERVAL_RULES,
  },
  'session-closed': {
    schema: sessionClosed,
    description: 'A session ended, failed or was rejected. It is the last event of its session.',
    rules: [
      ...INTERVAL_RULES,
      'status follows from close_reason. ended_at is not before started_at.',
    ],
  },
} as const;

/** The JSON Schema files by name, as they are committed in `schemas/json/`. */
export function jsonSchemaFiles(): Map<string, string> {
  return new Map(
    Object.entries(EVENTS).map(([name, { schema, description, rules }]) => {
      const file = `${name}.v${SCHEMA_VERSION}.schema.json`;
      const body = {
        $id: `urn:sockscope:${name}:v${SCHEMA_VERSION}`,
        $comment: ['JSON Schema cannot express these rules.', ...RULES, ...rules].join(' '),
        description,
        ...z.toJSONSchema(schema, {
          // The input side of the schema: a producer may omit a field that was added later.
          io: 'input',
          override({ jsonSchema }) {
            // The format is enough: zod's pattern refuses IPv4 at the end, which zod accepts.
            if (jsonSchema.format === 'ipv6') delete jsonSchema.pattern;
          },
        }),
      };
      return [file, `${JSON.stringify(body, null, 2)}\n`];
    }),
  );
}
