/**
 * The cost of tracking for the thread that moves traffic: opening, counting and closing one session, and
 * the memory of an idle one. Run alone: `node --expose-gc test/dist/bench/proxy/tracking.js`
 * (`--json` for a program).
 *
 * All is the proxy's own. Kafka is away, so that its work is not in the figures: events go to the
 * spool, and the publishing thread works beside.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { createLogger, Registry } from '@sockscope/runtime';
import { kafkaConfig } from '@sockscope/runtime/kafka';
import { createEventPipeline } from '@sockscope/proxy/events/pipeline';
import { eventsConfig } from '@sockscope/proxy/events/config';
import { createSessionClock } from '@sockscope/proxy/sessions/clock';
import { createSessionMetrics } from '@sockscope/proxy/sessions/metrics';
import { createSessionTracker } from '@sockscope/proxy/sessions/tracker';
import { trackingConfig } from '@sockscope/proxy/sessions/config';
import type { LateHeader, SessionHeader } from '@sockscope/proxy/events/event-parts';
import type { Session } from '@sockscope/proxy/sessions/session';

interface TrackingBenchRow {
  readonly name: string;
  readonly value: number;
  readonly unit: 'µs' | 'bytes';
  readonly bound: number | null;
}

const ROUNDS = 7;
const SESSIONS = 10_000;
const IDLE_SESSIONS = 20_000;
/** Sessions that a busy event loop opens between two checks of its timers. */
const BURST = 50;

const REACHED = {
  dest_ip: '198.51.100.7',
  acl_rule_matched: 'web',
  egress_ip: '203.0.113.7',
  egress_port: 40_112,
};

function headerOf(i: number): SessionHeader {
  return {
    user: `user-${i % 100}`,
    source_ip: `192.0.2.${i % 250}`,
    source_port: 1_024 + (i % 60_000),
    dest_host: `www${i % 1_000}.example.com`,
    dest_port: 443,
    protocol: 'tcp',
    command: 'connect',
    auth_method: 'password',
  };
}

function lateHeader(): LateHeader {
  return {
    dest_ip: null,
    egress_ip: null,
    egress_port: null,
    acl_decision: 'allow',
    acl_rule_matched: 'web',
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function benchTracking(): Promise<TrackingBenchRow[]> {
  const registry = new Registry();
  const clock = createSessionClock();
  const dir = mkdtempSync(join(tmpdir(), 'sockscope-tracking-'));
  const pipeline = createEventPipeline(
    eventsConfig.parse({ spool_dir: dir, flush_timeout_ms: 0 }),
    {
      kafka: kafkaConfig.parse({ brokers: ['127.0.0.1:1'] }),
      logger: createLogger('bench', { level: 'silent' }),
      registry,
      proxyId: 'bench',
    },
  );
  await pipeline.start();
  const tracker = createSessionTracker(trackingConfig.parse({}), {
    sink: pipeline,
    clock,
    metrics: createSessionMetrics(registry),
    origin: { proxy_id: 'bench', proxy_epoch: clock.now() },
  });

  // First, while nothing else lies around.
  const { gc } = globalThis;
  const collect =
    gc === undefined
      ? undefined
      : (): void => {
          gc();
        };
  const idleBytes =
    collect === undefined
      ? null
      : await idleMemory(collect, (i) => tracker.open(headerOf(i), lateHeader()));
  for (const session of tracker.live()) session.close('client_eof', null);

  /** Microseconds per session of a step, without the turns of the event loop in between. */
  async function timed(count: number, step: (i: number) => void): Promise<number> {
    let spentMs = 0;
    for (let i = 0; i < count;) {
      const startMs = performance.now();
      for (const end = Math.min(count, i + BURST); i < end; i += 1) step(i);
      spentMs += performance.now() - startMs;
      await turn();
    }
    return (spentMs * 1_000) / count;
  }

  const opening: number[] = [];
  const connecting: number[] = [];
  const counting: number[] = [];
  const sweeping: number[] = [];
  const closing: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const sessions: Session[] = [];
    opening.push(
      await timed(SESSIONS, (i) => {
        const session = tracker.open(headerOf(i), lateHeader());
        if (session !== null) sessions.push(session);
      }),
    );
    connecting.push(await timed(SESSIONS, (i) => sessions[i]?.connected(REACHED, 12)));
    const reads = 100 * SESSIONS;
    const startMs = performance.now();
    for (let i = 0; i < reads; i += 1) {
      const session = sessions[i % SESSIONS];
      if (session === undefined) continue;
      session.bytesReceived += 1_448;
      session.packetsReceived += 1;
    }
    counting.push(((performance.now() - startMs) * 1_000) / reads);
    // The first sweep takes readings of all; the second finds nothing new, as it mostly does.
    tracker.sweep();
    const sweepMs = performance.now();
    tracker.sweep();
    sweeping.push(((performance.now() - sweepMs) * 1_000) / SESSIONS);
    closing.push(await timed(SESSIONS, (i) => sessions[i]?.close('client_eof', null)));
  }

  const rows: TrackingBenchRow[] = [
    { name: 'open a session and emit', value: median(opening), unit: 'µs', bound: 20 },
    { name: 'note its address', value: median(connecting), unit: 'µs', bound: null },
    { name: 'count a read', value: median(counting), unit: 'µs', bound: 0.2 },
    { name: 'sweep over an idle one', value: median(sweeping), unit: 'µs', bound: null },
    { name: 'close it and emit', value: median(closing), unit: 'µs', bound: 20 },
  ];
  if (idleBytes !== null) {
    rows.push({ name: 'memory of an idle session', value: idleBytes, unit: 'bytes', bound: 550 });
  }
  tracker.stop();
  await pipeline.stop();
  rmSync(dir, { recursive: true, force: true });
  return rows;
}

/** Bytes of heap and buffers per session, of which the header is a part. */
async function idleMemory(gc: () => void, open: (i: number) => Session | null): Promise<number> {
  const settled = async (): Promise<number> => {
    for (let i = 0; i < 3; i += 1) {
      await turn();
      gc();
    }
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = await settled();
  for (let i = 0; i < IDLE_SESSIONS; i += 1) {
    open(i)?.connected(REACHED, 12);
    if (i % BURST === 0) await turn();
  }
  return ((await settled()) - before) / IDLE_SESSIONS;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const rows = await benchTracking();
  if (process.argv.includes('--json')) {
    process.stdout.write(JSON.stringify(rows));
    process.exit();
  }
  for (const { name, value, unit, bound } of rows) {
    const target = bound === null ? '' : `  ≤ ${bound} ${value <= bound ? 'met' : 'MISSED'}`;
    process.stdout.write(`${name.padEnd(28)} ${value.toFixed(3).padStart(9)} ${unit}${target}\n`);
  }
}
