import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { SessionStarted } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { partsOf } from '../event-parts.js';
import type { Measurement } from '../measurement.js';
import { ReportQueue } from '../reports.js';
import { NO_PLACE } from '../sink.js';
import type { OpenSession } from '../sink.js';
import { jsonOf } from '../testing/event-of.js';
import { tempDir } from '../testing/temp-dir.js';
import { readTable, TableFile } from './table-file.js';
import { SessionTable, SLOT_BYTES, TableMemory } from './table.js';

const STATUS = { acknowledged: 1_234, aliveMs: 1_790_000_000_000, isClean: false };

interface TestSession extends OpenSession {
  late: object;
  event: SessionStarted;
}

function sessionOf(i: number, change: Partial<SessionStarted> = {}): TestSession {
  const [started] = sessionLog({ random: seededRandom(i), startMs: 1_780_000_000_000 + i });
  if (started?.type !== 'SessionStarted') throw new Error('no start');
  const event = { ...started, ...change };
  return {
    place: NO_PLACE,
    late: {},
    event,
    started() {
      return partsOf(this.event);
    },
  };
}

function measured(seq: number, bytes: number): Measurement {
  const counters = { bytes_sent: bytes, bytes_received: 2, packets_sent: 1, packets_received: 1 };
  return {
    seq,
    interval_start_ms: 1_780_000_000_000,
    at_ms: 1_780_000_001_000,
    connect_ms: null,
    totals: counters,
    delta: counters,
    minute: counters,
  };
}

/** Both threads' ends of a table, in one. */
function setUp() {
  const dir = tempDir();
  const file = new TableFile(dir, STATUS);
  const memory = new TableMemory();
  const table = new SessionTable(memory);
  const reports = new ReportQueue(memory);
  return {
    dir,
    table,
    reports,
    file,
    save: (status = STATUS): void => {
      file.save(status, memory, (...change) => {
        reports.note(...change);
      });
    },
    /** The sessions that a start would find: id, seq, bytes. */
    found: () =>
      [...readTable(dir).open].map(([id, { measurement }]) => [
        id,
        measurement?.seq,
        measurement?.totals.bytes_sent,
      ]),
  };
}

function reported(reports: ReportQueue, count = 100, position = 0): [string, number][] {
  return reports.take(count, position).map((frame) => [frame.sessionId, frame.seq]);
}

describe('the table of open sessions', () => {
  it('has on disk the last counters of each of many sessions, and no released session', () => {
    const { table, save, found, dir } = setUp();
    const sessions = Array.from({ length: 1_000 }, (_, i) => sessionOf(i));
    for (const round of [1, 2, 3]) {
      sessions.forEach((session, i) => {
        if (i % round === 0) table.write(session, measured(round, i + round), false, 0);
      });
      save();
    }
    sessions.forEach((session, i) => {
      if (i % 5 === 0) table.release(session);
    });
    save({ ...STATUS, acknowledged: 99 });
    const expected = sessions.flatMap(({ event }, i) => {
      const round = i % 3 === 0 ? 3 : i % 2 === 0 ? 2 : 1;
      return i % 5 === 0 ? [] : [[event.session_id, round, i + round]];
    });
    expect(found()).toEqual(expected);
    expect(readTable(dir).status).toEqual({ ...STATUS, acknowledged: 99 });
  });

  it('of a former version, with JSON in its slots, has no sessions, and a start reads it all the same', () => {
    const dir = tempDir();
    const [file, memory] = [new TableFile(dir, STATUS), new TableMemory()];
    const session = sessionOf(1);
    new SessionTable(memory).write(session, measured(1, 1), false, 0);
    memory.write(session.place, () => {
      memory.setStarted(session.place, Buffer.from(jsonOf(session.started())));
    });
    file.save(STATUS, memory, () => undefined);
    file.close();
    expect(readTable(dir)).toEqual({ status: STATUS, open: new Map() });
  });

  it('gives the slot of a session that ended to the next one, and never shows one as the other', () => {
    const { table, save, found, reports, file } = setUp();
    const bytes = file.bytes;
    for (let i = 0; i < 500; i += 1) {
      const session = sessionOf(i);
      table.write(session, measured(1, i), true, 0);
      table.write(session, measured(1, i), false, 0);
      if (i % 3 > 0) save();
      expect(reported(reports)).toEqual(i % 3 > 0 ? [[session.event.session_id, 1]] : []);
      table.release(session);
    }
    save();
    expect(found()).toEqual([]);
    expect(file.bytes - bytes).toBeLessThanOrEqual(2 * SLOT_BYTES);
  });

  it('never has the counters of a session whose slot another one has got', () => {
    const { table, save, found } = setUp();
    const [one, two] = [sessionOf(1), sessionOf(2)];
    table.write(one, measured(5, 500), false, 0);
    table.release(one);
    table.write(two, measured(1, 10), true, 0);
    save();
    expect(found()).toEqual([[two.event.session_id, 1, 10]]);
  });

  it('has the header as it was last, also when it has grown', () => {
    const { table, save, dir } = setUp();
    const session = sessionOf(1, { dest_ip: null });
    table.write(session, measured(0, 0), false, 0);
    save();
    session.late = {};
    session.event = { ...session.event, dest_ip: '198.51.100.7' };
    table.write(session, measured(0, 0), false, 0);
    save();
    const headers = (): unknown[] => [...readTable(dir).open.values()].map(({ header }) => header);
    expect(headers()).toEqual([session.event]);
    session.late = {};
    session.event = { ...session.event, dest_host: 'x'.repeat(1_024) };
    table.write(session, measured(0, 0), false, 0);
    save();
    expect(headers()).toEqual([session.event]);
  });

  it('whose write was cut short at any byte has the state before', () => {
    const { table, save, found, dir } = setUp();
    const session = sessionOf(1);
    table.write(session, measured(1, 10), false, 0);
    save();
    const before = readFileSync(join(dir, 'open-sessions'));
    table.write(session, measured(2, 20), false, 0);
    save();
    const after = readFileSync(join(dir, 'open-sessions'));
    expect(found()).toEqual([[session.event.session_id, 2, 20]]);
    for (let cut = 0; cut < after.length; cut += 7) {
      const torn = Buffer.concat([after.subarray(0, cut), before.subarray(cut)]);
      writeFileSync(join(dir, 'open-sessions'), torn);
      const [found1] = found();
      expect([10, 20]).toContain(found1?.[2]);
    }
  });

  it('that was cut off gives the sessions that are whole in it', () => {
    const { table, save, found, dir } = setUp();
    const sessions = Array.from({ length: 10 }, (_, i) => sessionOf(i));
    for (const session of sessions) table.write(session, measured(1, 1), false, 0);
    save();
    truncateSync(join(dir, 'open-sessions'), 2 * SLOT_BYTES * 6);
    expect(found().map(([id]) => id)).toEqual(
      sessions.slice(0, 5).map(({ event }) => event.session_id),
    );
  });
});

describe('a report in the table', () => {
  it('is published once, and gives way to the next one of its session before', () => {
    const { table, save, reports } = setUp();
    const session = sessionOf(1);
    for (const seq of [1, 2, 3]) {
      table.write(session, measured(seq, seq), true, 0);
      save();
    }
    expect(reports.size).toBe(1);
    expect(reported(reports)).toEqual([[session.event.session_id, 3]]);
    save();
    expect(reported(reports)).toEqual([]);
    table.write(session, measured(4, 4), true, 0);
    save();
    expect(reported(reports)).toEqual([[session.event.session_id, 4]]);
  });

  it('waits until all earlier events of its session are published, and until it is on disk', () => {
    const { table, save, reports } = setUp();
    const session = sessionOf(1);
    table.write(session, measured(1, 1), true, 500);
    save();
    expect(reported(reports, 100, 499)).toEqual([]);
    table.write(session, measured(2, 2), true, 500);
    expect(reported(reports, 100, 500)).toEqual([]);
    save();
    expect(reported(reports, 100, 500)).toEqual([[session.event.session_id, 2]]);
  });

  it('is not published if the log has a later event of its session, or its end', () => {
    const { table, save, reports } = setUp();
    const [one, two] = [sessionOf(1), sessionOf(2)];
    table.write(one, measured(1, 1), true, 0);
    table.write(two, measured(1, 1), true, 0);
    save();
    expect(reports.size).toBe(2);
    table.write(one, measured(2, 2), false, 0);
    table.release(two);
    save();
    expect(reports.size).toBe(0);
  });

  it('has the requested number', () => {
    const { table, save, reports } = setUp();
    for (let i = 0; i < 10; i += 1) table.write(sessionOf(i), measured(1, 1), true, 0);
    save();
    expect(reported(reports, 4)).toHaveLength(4);
    expect(reported(reports, 100)).toHaveLength(6);
    expect(reports.published).toBe(10);
  });
});
