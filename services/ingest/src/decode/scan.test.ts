import { Buffer } from 'node:buffer';
import { CLOSE_REASONS, COUNTER_NAMES, sessionEvent, statusOf } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventView, fillView } from './event-view.generated.js';
import { EventScanner } from './scan.js';

/** Random events of each test, new ones in each run. */
const RUNS = process.env['SOCKSCOPE_CHAOS'] === 'full' ? 20_000 : 5_000;

/** The keys of the events in the order in which the proxy writes them, which is the schema's. */
function canonical(event: SessionEvent): SessionEvent {
  const shape = sessionEvent.def.options.find(
    (option) => option.shape.type.value === event.type,
  )?.shape;
  const known = event as unknown as Record<string, unknown>;
  return Object.fromEntries(
    Object.keys(shape ?? {}).map((key) => [key, known[key]]),
  ) as unknown as SessionEvent;
}

/** The values of a view: texts instead of their positions, and no words of an absent address. */
function contents(view: EventView): Record<string, unknown> {
  const { text: bytes, ...fields } = view;
  const held = fields as Readonly<Record<string, number | boolean>>;
  const isAbsent = (name: string) =>
    held[`has${name.charAt(0).toUpperCase()}${name.slice(1, -1)}`] === false;
  return Object.fromEntries(
    Object.entries(held).flatMap<[string, unknown]>(([name, value]) => {
      if (name.endsWith('Length') || isAbsent(name)) return [];
      if (!name.endsWith('Start')) return [[name, value]];
      const field = name.slice(0, -'Start'.length);
      const start = Number(value);
      const length = Number(held[`${field}Length`]);
      const text = Buffer.from(bytes).toString('utf8', start, start + length);
      return [[field, length < 0 ? null : text]];
    }),
  );
}

function bySchema(event: SessionEvent): Record<string, unknown> {
  const view = new EventView();
  fillView(view, event);
  return contents(view);
}

const scanner = new EventScanner();

function scan(json: string): Record<string, unknown> | null {
  const view = new EventView();
  // Something before and behind, as in a batch.
  const bytes = Buffer.from(`{"type":"${json}"}`, 'utf8');
  const start = 9;
  return scanner.scan(bytes, start, bytes.length - 2, view) ? contents(view) : null;
}

/** The result of zod for the same text. */
function parse(json: string): Record<string, unknown> | null {
  let data: unknown;
  try {
    data = JSON.parse(json);
  } catch {
    return null;
  }
  const parsed = sessionEvent.safeParse(data);
  return parsed.success ? bySchema(parsed.data) : null;
}

const log = fc
  .record({
    seed: fc.integer(),
    startMs: fc.integer({ min: Date.UTC(2020, 0, 3), max: Date.UTC(2099, 11, 30) }),
    intervals: fc.integer({ min: 0, max: 4 }),
    closeReason: fc.constantFrom(...CLOSE_REASONS),
    user: fc.constantFrom(
      'anonymous',
      'u',
      'user-1@example.com',
      'a b',
      "o'neil; DROP",
      'x'.repeat(512),
    ),
    destHost: fc.constantFrom('example.com', '192.0.2.1', '2001:db8::1', '-', 'h'.repeat(1_024)),
  })
  .map(({ seed, closeReason, ...options }) =>
    sessionLog({ random: seededRandom(seed), closed: true, closeReason, ...options }),
  );
const event = fc
  .tuple(log, fc.nat())
  .map(([events, pick]) => canonical(events[pick % events.length] as SessionEvent));

describe('the scanner', () => {
  it('the scanner reads every event as our emitter writes it, with the values that the schema sees', () => {
    fc.assert(
      fc.property(event, (each) => {
        expect(scan(JSON.stringify(each))).toEqual(bySchema(sessionEvent.parse(each)));
      }),
      { numRuns: 500 },
    );
  });

  it('the scanner accepts nothing that the schema refuses, and sees the same values, for any change of a byte', () => {
    let accepted = 0;
    const bytes = fc.oneof(
      fc.constantFrom(
        ...Buffer.from('0123456789abcdefABCDEF:.,-"\\{}[]ntTZ '),
        0,
        0x1f,
        0x7f,
        0x80,
        0xff,
      ),
      fc.integer({ min: 0, max: 255 }),
    );
    fc.assert(
      fc.property(
        event,
        fc.nat(),
        fc.constantFrom('replace', 'insert', 'remove'),
        bytes,
        (each, at, how, byte) => {
          const original = Buffer.from(JSON.stringify(each), 'latin1');
          const place = at % original.length;
          const changed = Buffer.concat([
            original.subarray(0, place),
            Buffer.from(how === 'remove' ? [] : [byte]),
            original.subarray(how === 'insert' ? place : place + 1),
          ]);
          const view = new EventView();
          const isAccepted = scanner.scan(changed, 0, changed.length, view);
          if (!isAccepted) return;
          accepted += 1;
          expect(contents(view)).toEqual(parse(changed.toString('utf8')));
        },
      ),
      { numRuns: RUNS },
    );
    // A test in which nothing is accepted would prove nothing.
    expect(accepted).toBeGreaterThan(RUNS / 20);
  });

  it('the scanner agrees with the schema about every rule between fields', () => {
    const times = [
      'occurred_at',
      'started_at',
      'interval_start',
      'interval_end',
      'ended_at',
    ] as const;
    const change = fc.oneof(
      fc.record({
        field: fc.constantFrom(...times),
        value: fc
          .tuple(fc.constantFrom(...times), fc.constantFrom(0, 1, -1, 60_000, -60_000, 3_600_000))
          .map(([of, by]) => ({ of, by })),
      }),
      fc.record({
        field: fc.constantFrom('seq', 'proxy_epoch', 'duration_ms', 'connect_ms', ...COUNTER_NAMES),
        value: fc.constantFrom(
          0,
          1,
          -1,
          0.5,
          65_535,
          65_536,
          2 ** 31 - 1,
          2 ** 31,
          2 ** 53 - 1,
          2 ** 53,
          1e21,
          Date.UTC(2020, 0, 1),
          Date.UTC(2020, 0, 1) - 1,
          Date.UTC(2100, 0, 1),
          Date.UTC(2100, 0, 1) + 1,
        ),
      }),
      fc.record({
        field: fc.constantFrom('status', 'close_reason', 'type'),
        value: fc.constantFrom(
          'closed',
          'failed',
          'rejected_by_acl',
          'lost',
          'client_eof',
          'x',
          '',
        ),
      }),
      fc.record({
        field: fc.constantFrom('source_ip', 'dest_ip'),
        value: fc.oneof(
          fc.ipV4(),
          fc.ipV6(),
          fc.constantFrom(
            '::',
            '::1',
            '1::',
            '1:2:3:4:5:6:7::',
            '::2:3:4:5:6:7:8',
            '1::3:4:5:6:7:8',
            '1:2:3:4:5:6:7:8:9',
            '::ffff:1.2.3.4',
            '2001:DB8::A',
            '01.2.3.4',
            '1.2.3',
            '1.2.3.4.5',
            '256.1.1.1',
            '1.2.3.4 ',
            ':::',
            '1:::2',
            '12345::',
            'fe80::1%eth0',
            '0:0:0:0:0:0:0:0',
            '',
            '1.2.3.',
            'abcd',
          ),
        ),
      }),
      fc.record({
        field: fc.constantFrom('delta', 'minute'),
        value: fc.record(
          Object.fromEntries(
            COUNTER_NAMES.map((name) => [name, fc.constantFrom(0, 1, 1e6, 2 ** 52)]),
          ),
        ),
      }),
      fc.record({
        field: fc.constantFrom('user', 'dest_host', 'proxy_id', 'acl_rule_matched', 'error_code'),
        value: fc.oneof(
          fc.string({ maxLength: 20 }),
          fc.constantFrom(
            null,
            '',
            'x'.repeat(64),
            'x'.repeat(65),
            'x'.repeat(128),
            'x'.repeat(129),
            'x'.repeat(256),
            'x'.repeat(257),
            'x'.repeat(512),
            'x'.repeat(513),
            'x'.repeat(1_024),
            'x'.repeat(1_025),
          ),
        ),
      }),
    );
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(event, change, (each, { field, value }) => {
        if (!(field in each)) return;
        const known = each as unknown as Record<string, unknown>;
        const shifted =
          typeof value === 'object' && value !== null && 'of' in value
            ? new Date(
                Date.parse((known[value.of] as string | undefined) ?? each.occurred_at) + value.by,
              )
            : value;
        const json = JSON.stringify({ ...each, [field]: shifted });
        const scanned = scan(json);
        const parsed = parse(json);
        if (scanned !== null) {
          accepted += 1;
          expect(scanned).toEqual(parsed);
        } else if (parsed === null) {
          refused += 1;
        }
      }),
      { numRuns: RUNS },
    );
    expect(accepted).toBeGreaterThan(RUNS / 20);
    expect(refused).toBeGreaterThan(RUNS / 20);
  });

  it('the scanner knows the days that do not exist', () => {
    const [first] = sessionLog({ random: seededRandom(1), startMs: Date.UTC(2026, 2, 1) });
    const json = JSON.stringify(canonical(first as SessionEvent));
    expect(scan(json)).not.toBeNull();
    for (const day of [
      '2026-02-29',
      '2026-02-30',
      '2026-04-31',
      '2026-13-01',
      '2026-00-10',
      '2026-01-00',
    ]) {
      expect(scan(json.replaceAll('2026-03-01', day))).toBeNull();
    }
  });

  it('the scanner knows every close reason', () => {
    for (const closeReason of CLOSE_REASONS) {
      const last = sessionLog({
        random: seededRandom(7),
        startMs: Date.UTC(2026, 2, 1),
        closed: true,
        closeReason,
      }).at(-1) as SessionEvent;
      const scanned = scan(JSON.stringify(canonical(last)));
      expect(scanned).toMatchObject({
        closeReason: CLOSE_REASONS.indexOf(closeReason),
        status: ['closed', 'failed', 'rejected_by_acl'].indexOf(statusOf(closeReason)),
      });
    }
  });
});
