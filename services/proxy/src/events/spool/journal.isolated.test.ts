import type * as fs from 'node:fs';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { SessionEvent } from '@sockscope/schemas';
import { encodeEvent } from '../encode.generated.js';
import { READING_MAX_BYTES, readingOf, writeReading } from '../reading.js';
import { hostileLogs } from '../testing/hostile-log.js';
import { createJournal, readJournal } from './journal.js';
import { SpoolError } from './log.js';

/** Files for which this process has no descriptor left: another thread may take the last one at any moment. */
const { unopenable } = vi.hoisted(() => ({ unopenable: new Set<unknown>() }));
vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  const openSync: typeof fs.openSync = (path, ...more) => {
    if (unopenable.has(path)) throw new Error('EMFILE: too many open files');
    return real.openSync(path, ...more);
  };
  return { ...real, openSync };
});

const dirs: string[] = [];
afterEach(() => {
  unopenable.clear();
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function tempFile(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-journal-'));
  dirs.push(dir);
  return join(dir, 'open-sessions');
}

const starts = hostileLogs(11, 200).map((log) => log[0] as SessionEvent);

function opened(event: SessionEvent): Buffer {
  return Buffer.from(encodeEvent(event));
}

function readingBytes(event: SessionEvent, bytes: number): Buffer {
  const buffer = Buffer.alloc(READING_MAX_BYTES);
  const counters = { bytes_sent: bytes, bytes_received: 0, packets_sent: 1, packets_received: 0 };
  const at = Date.parse(event.started_at) + 100;
  const end = writeReading(buffer, 0, {
    session_id: event.session_id,
    seq: 3,
    interval_start_ms: at,
    at_ms: at,
    dest_ip: '2001:db8::9',
    acl_rule_matched: 'a rule',
    connect_ms: 4,
    totals: counters,
    delta: counters,
    minute: counters,
  });
  return buffer.subarray(0, end);
}

const none = { opened: [], readings: [], closed: [] };

describe('the journal of open sessions', () => {
  it('knows the open sessions and their last readings after the process died', () => {
    const file = tempFile();
    const journal = createJournal({ file, compact_min_bytes: 1_000_000 });
    const [a, b, c] = starts as [SessionEvent, SessionEvent, SessionEvent];
    journal.note({ ...none, opened: [opened(a), opened(b), opened(c)] });
    journal.note({ ...none, readings: [readingBytes(a, 10), readingBytes(b, 5)] });
    journal.note({ ...none, readings: [readingBytes(a, 20)], closed: [b.session_id] });
    const known = readJournal(file);
    expect([...known.keys()]).toEqual([a.session_id, c.session_id]);
    expect(known.get(a.session_id)?.started.equals(opened(a))).toBe(true);
    expect(known.get(a.session_id)?.reading).toMatchObject({
      seq: 3,
      totals: { bytes_sent: 20 },
      dest_ip: '2001:db8::9',
      acl_rule_matched: 'a rule',
    });
    expect(known.get(c.session_id)?.reading).toBeNull();
  });

  it('stays small, and the same, when thousands come and go', () => {
    const file = tempFile();
    const journal = createJournal({ file, compact_min_bytes: 20_000 });
    const stay = starts.slice(0, 5);
    journal.note({ ...none, opened: stay.map(opened) });
    for (let round = 0; round < 50; round += 1) {
      const others = starts.slice(5);
      journal.note({ ...none, opened: others.map(opened) });
      journal.note({
        opened: [],
        readings: stay.map((event) => readingBytes(event, round)),
        closed: others.map((event) => event.session_id),
      });
      journal.compact();
      expect(statSync(file).size).toBe(journal.bytes);
    }
    expect(journal.bytes).toBeLessThan(400_000);
    const known = readJournal(file);
    expect([...known.keys()].toSorted()).toEqual(stay.map((e) => e.session_id).toSorted());
    for (const { reading } of known.values()) expect(reading?.totals.bytes_sent).toBe(49);
  });

  it.each(['', '.next'])(
    'goes on in the file that the next process finds where open-sessions%s cannot be opened',
    (suffix) => {
      const file = tempFile();
      const journal = createJournal({ file, compact_min_bytes: 1 });
      const [a, b] = starts as [SessionEvent, SessionEvent];
      journal.note({ ...none, opened: [opened(a)] });
      unopenable.add(`${file}${suffix}`);
      const outcome = (() => {
        try {
          journal.compact();
          return null;
        } catch (error) {
          return error;
        }
      })();
      expect(outcome === null || outcome instanceof SpoolError).toBe(true);
      journal.note({ ...none, opened: [opened(b)], closed: [a.session_id] });
      expect([...readJournal(file).keys()]).toEqual([b.session_id]);
      expect(statSync(file).size).toBe(journal.bytes);
    },
  );

  it('that is cut anywhere still tells what was written before the cut', () => {
    const file = tempFile();
    const journal = createJournal({ file, compact_min_bytes: 1_000_000 });
    const some = starts.slice(0, 10);
    const ends: number[] = [];
    for (const event of some) {
      journal.note({ ...none, opened: [opened(event)] });
      ends.push(journal.bytes);
    }
    const bytes = readFileSync(file);
    for (let cut = 0; cut <= bytes.length; cut += 37) {
      writeFileSync(file, bytes.subarray(0, cut));
      const whole = ends.filter((end) => end <= cut).length;
      expect([...readJournal(file).keys()]).toEqual(
        some.slice(0, whole).map((event) => event.session_id),
      );
    }
  });

  it('of garbage is empty', () => {
    const file = tempFile();
    appendFileSync(file, 'garbage'.repeat(100));
    expect(readJournal(file).size).toBe(0);
    expect(readJournal(`${file}.missing`).size).toBe(0);
  });
});

describe('the reading of a reported delta', () => {
  it('says what the delta said', () => {
    const delta = hostileLogs(2, 50)
      .flat()
      .find((event) => event.type === 'TrafficDelta');
    if (delta?.type !== 'TrafficDelta') throw new Error('no delta');
    expect(readingOf(delta)).toMatchObject({ seq: delta.seq, minute: delta.minute });
  });
});
