import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { describe, expect, it } from 'vitest';
import { createDecoder } from '../decode/decode-event.js';
import { EventView } from '../decode/event-view.generated.js';
import { OpenSessions } from '../rollups/open-sessions.js';
import { BatchFold } from './batch-fold.js';

const START = Date.UTC(2026, 2, 1);
const [started, delta] = sessionLog({
  random: seededRandom(3),
  startMs: START,
  intervals: 1,
  user: 'alice',
}) as [SessionEvent, SessionEvent];

const REACHED = { dest_ip: '198.51.100.1', egress_ip: '203.0.113.7', egress_port: 40_112 };
const UNKNOWN = { dest_ip: null, egress_ip: null, egress_port: null };

function changesIn(...events: readonly object[]): Record<string, number> {
  const view = new EventView();
  const decoder = createDecoder(view);
  const fold = new BatchFold();
  for (const event of events) {
    const bytes = Buffer.from(JSON.stringify(event));
    expect(decoder.decode(bytes, 0, bytes.length)).toBeNull();
    fold.add(view, 0);
  }
  return Object.fromEntries(fold.headerChanges);
}

/** Returns the changes that are noticed if each event comes in a batch of its own. */
function changesBetween(events: readonly object[]): (string | null)[] {
  const open = new OpenSessions(10);
  return events.map((event, offset) => {
    const view = new EventView();
    const bytes = Buffer.from(JSON.stringify(event));
    expect(createDecoder(view).decode(bytes, 0, bytes.length)).toBeNull();
    const fold = new BatchFold();
    fold.add(view, 0);
    open.begin(0, offset);
    const changed = open.set(fold.sessionsOf(), 0, true);
    open.end(0, offset + 1);
    return changed;
  });
}

describe('changes of a session header', () => {
  it('no session that follows the rules has any, in any order of its events', () => {
    for (let seed = 0; seed < 200; seed += 1) {
      const log = sessionLog({ random: seededRandom(seed), startMs: START + seed });
      expect(changesIn(...log, ...log.toReversed())).toEqual({});
    }
  });

  it.each([
    ['proxy_id', 'proxy-other'],
    ['proxy_epoch', START],
    ['user', 'bob'],
    ['source_ip', '2001:db8::1'],
    ['source_port', 1],
    ['dest_host', 'other.example'],
    ['dest_port', 1],
    ['protocol', started.protocol === 'udp' ? 'tcp' : 'udp'],
    ['command', 'bind'],
    ['auth_method', started.auth_method === 'none' ? 'password' : 'none'],
  ])('a change of %s is counted once for each event that has it', (field, value) => {
    expect(changesIn(started, { ...delta, [field]: value })).toEqual({ [field]: 1 });
    expect(changesIn({ ...delta, [field]: value }, started)).toEqual({ [field]: 1 });
  });

  it('a field that is learned on the way may change once, in any order of the events', () => {
    const events = [
      { ...started, ...UNKNOWN },
      { ...delta, ...REACHED },
    ];
    expect(changesIn(...events)).toEqual({});
    expect(changesIn(...events.toReversed())).toEqual({});
  });

  it.each([
    ['dest_ip', '198.51.100.2'],
    ['egress_ip', '2001:db8::7'],
    ['egress_port', 1],
  ])('another value of %s, or its disappearance, is counted', (field, other) => {
    const before = { ...started, ...REACHED };
    const after = { ...delta, ...REACHED };
    expect(changesIn(before, { ...after, [field]: other })).toEqual({ [field]: 1 });
    expect(changesIn(before, { ...after, [field]: null })).toEqual({ [field]: 1 });
    expect(changesIn({ ...after, [field]: null }, before)).toEqual({ [field]: 1 });
  });

  it.each([
    ['user', UNKNOWN, { user: 'bob' }, 'unknown'],
    ['source_port', UNKNOWN, { source_port: 1 }, 'unknown'],
    ['proxy_epoch', UNKNOWN, { proxy_epoch: START }, 'unknown'],
    ['nothing', UNKNOWN, {}, null],
    ['what is learned on the way, from null,', UNKNOWN, REACHED, null],
    ['dest_ip to another value', REACHED, { dest_ip: '198.51.100.2' }, 'dest_ip'],
    ['egress_ip to another value', REACHED, { egress_ip: '2001:db8::7' }, 'egress_ip'],
    ['egress_port to another value', REACHED, { egress_port: 1 }, 'egress_port'],
    ['dest_ip to null', REACHED, { dest_ip: null }, 'dest_ip'],
  ])(
    'between two batches, a change of %s is noticed while the session is open',
    (_what, before, changes, field) => {
      const events = [
        { ...started, ...before },
        { ...delta, ...before, ...changes },
      ];
      expect(changesBetween(events)).toEqual([null, field]);
    },
  );

  it('an old event that arrives again in a later batch is not a change', () => {
    const first = { ...started, ...UNKNOWN };
    expect(changesBetween([first, { ...delta, ...REACHED }, first])).toEqual([null, null, null]);
  });

  it('a value is compared with the last one over any number of batches', () => {
    const heartbeats = Array.from({ length: 50 }, (_, i) => ({
      ...delta,
      ...REACHED,
      seq: delta.seq + i,
    }));
    const last = { ...delta, ...REACHED, egress_port: 1, seq: delta.seq + 50 };
    expect(changesBetween([...heartbeats, last])).toEqual([
      ...heartbeats.map(() => null),
      'egress_port',
    ]);
  });

  it('the decision of the rules may change', () => {
    const changed = { ...delta, acl_decision: 'block', acl_rule_matched: 'late' };
    expect(changesIn(started, changed)).toEqual({});
  });
});
