/** A benchmark needs a correct workload: events that the contract allows, and true totals. */
import { Frame, frameBytesOf } from '@sockscope/proxy/events/frame';
import { fold, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { describe, expect, it } from 'vitest';
import { createTally, DEFAULT_WORKLOAD, workload } from '../bench/ingest/workload.js';
import type { WorkloadOptions } from '../bench/ingest/workload.js';

const OPTIONS = {
  ...DEFAULT_WORKLOAD,
  events: 8_000,
  // Slow enough that there are long sessions over several minutes, and an hour's end within.
  sessionsPerSecond: 5,
  startMs: Date.UTC(2026, 1, 28, 23, 58, 30, 250),
};

/** The events as they are sent. */
function eventsOf(options: WorkloadOptions): SessionEvent[] {
  return Array.from(workload(options), (event) => {
    return JSON.parse(new Frame(frameBytesOf(event)).json) as SessionEvent;
  });
}

describe.each([1, 2])('the workload of the benchmarks (seed %i)', (seed) => {
  const events = eventsOf({ ...OPTIONS, seed });
  const rows = [...fold(events).values()].flatMap(({ row, minutes }) =>
    row === null ? [] : [{ row, minutes }],
  );

  it('has as many events as it was asked for, each as the contract wants it, by rising time', () => {
    expect(events).toHaveLength(OPTIONS.events);
    let lastMs = 0;
    for (const event of events) {
      const parsed = sessionEvent.safeParse(event);
      expect(parsed.error?.issues ?? []).toEqual([]);
      const atMs = Date.parse(event.occurred_at);
      expect(atMs).toBeGreaterThanOrEqual(lastMs);
      lastMs = atMs;
    }
  });

  it('numbers the events of each session without a gap', () => {
    const next = new Map<string, number>();
    for (const { session_id, seq } of events) {
      expect(seq).toBe(next.get(session_id) ?? 0);
      next.set(session_id, seq + 1);
    }
  });

  it('moves the same bytes in its minutes as in its sessions, and states their total', () => {
    const tally = createTally();
    for (const event of workload({ ...OPTIONS, seed })) tally.add(event);
    let sent = 0;
    let received = 0;
    for (const { row, minutes } of rows) {
      let inMinutes = 0;
      for (const counters of minutes.values()) inMinutes += counters.bytes_received;
      expect(inMinutes).toBe(row.bytes_received);
      sent += row.bytes_sent;
      received += row.bytes_received;
    }
    expect(tally.totals()).toEqual({
      events: OPTIONS.events,
      sessions: rows.length,
      bytesSent: sent,
      bytesReceived: received,
    });
    expect(received).toBeGreaterThan(0);
  });

  it('is realistic: short and long sessions, failed and rejected ones, few that have most', () => {
    const share = (is: (row: (typeof rows)[number]['row']) => boolean) =>
      rows.filter(({ row }) => is(row)).length / rows.length;
    expect(share(({ status }) => status === 'rejected_by_acl')).toBeGreaterThan(0.01);
    expect(share(({ status }) => status === 'failed')).toBeGreaterThan(0.03);
    expect(share(({ seq }) => seq > 30)).toBeGreaterThan(0.005);
    const perUser = new Map<string, number>();
    for (const { row } of rows) perUser.set(row.user, (perUser.get(row.user) ?? 0) + 1);
    const top = [...perUser.values()].toSorted((a, b) => b - a).slice(0, 20);
    expect(top.reduce((sum, n) => sum + n, 0) / rows.length).toBeGreaterThan(0.2);
  });

  it('is the same for the same seed', () => {
    expect(eventsOf({ ...OPTIONS, seed, events: 500 })).toEqual(events.slice(0, 500));
  });
});
