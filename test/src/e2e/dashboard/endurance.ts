/**
 * The memory of a page that is open for long: the live view under 1,000 events a second. Half a minute of
 * it runs with all tests; two hours, measured from minute 10 on:
 *
 *     SOCKSCOPE_HEAP_MINUTES=120 npx vitest run --project e2e test/src/e2e/dashboard.test.ts -t memory
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createLogger } from '@sockscope/runtime';
import { createKafkaProducer, kafkaConfig } from '@sockscope/runtime/kafka';
import { cloudEventHeaders, DEFAULT_TOPIC } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import type { Browser, Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { openPage } from '../../support/browser.js';

const MINUTES = Number(process.env['SOCKSCOPE_HEAP_MINUTES'] ?? 0.5);
const EVENTS_PER_SECOND = 1_000;
/** A session has a start, this many deltas, and an end. */
const DELTAS = 3;
const SESSIONS_PER_SECOND = EVENTS_PER_SECOND / (DELTAS + 2);
const USERS = 100;
/** The part of the time after which a long run measures first; a short one fills its caches meanwhile. */
const WARM = 1 / 3;
const WARM_MINUTES_MAX = 10;
const GROWTH_MAX = 0.1;
/**
 * Growth without a leak: compiled code, and rows that a busy machine shows late. A short run finds a leak
 * of 70 bytes per event.
 */
const GROWTH_BYTES = 1_000_000;
const TICK_MS = 200;
const WAIT = { timeout: 120_000, interval: 500 };

/** Sends events of made-up sessions as they happen until the signal fires. */
async function sendEvents(
  kafka: string,
  sent: { events: number },
  signal: AbortSignal,
): Promise<void> {
  const producer = createKafkaProducer(
    kafkaConfig.parse({ brokers: [kafka], topic: DEFAULT_TOPIC }),
    { logger: createLogger('test', { level: 'silent' }), role: 'test' },
  );
  const random = seededRandom(11);
  let waiting: { readonly atMs: number; readonly event: SessionEvent }[] = [];
  let madeMs = Date.now();
  try {
    while (!signal.aborted) {
      const nowMs = Date.now();
      for (; madeMs < nowMs; madeMs += 1_000 / SESSIONS_PER_SECOND) {
        const startMs = Math.floor(madeMs);
        const user = `user-${Math.floor(random() * USERS)}`;
        for (const event of sessionLog({
          random,
          startMs,
          user,
          intervals: DELTAS,
          closed: true,
        })) {
          waiting.push({ atMs: Date.parse(event.occurred_at), event });
        }
      }
      const due = waiting.filter(({ atMs }) => atMs <= nowMs);
      waiting = waiting.filter(({ atMs }) => atMs > nowMs);
      const records = due.map(({ event }) => ({
        key: event.session_id,
        value: JSON.stringify(event),
        headers: cloudEventHeaders(event),
      }));
      if (records.length > 0) await producer.send(DEFAULT_TOPIC, records, signal);
      sent.events += records.length;
      await delay(TICK_MS, undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    producer.stop();
  }
}

/** Bytes of the page's heap after everything that nobody needs is gone. */
async function heapOf(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  for (let n = 0; n < 3; n++) await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  await session.detach();
  return usedSize;
}

/** Looks at the live view from its first rows to the end, and how much memory it takes. */
async function watch(page: Page, api: string, sent: { readonly events: number }): Promise<void> {
  await page.goto(`${api}/live`);
  const rows = page.locator('table.sessions tbody tr');
  await expect.poll(() => rows.count(), WAIT).toBeGreaterThan(50);
  const eventsOf = (minutes: number) => minutes * 60 * EVENTS_PER_SECOND;
  const after = async (events: number) => {
    await expect
      .poll(() => sent.events, { ...WAIT, timeout: (MINUTES + 5) * 60_000 })
      .toBeGreaterThan(events);
    return heapOf(page);
  };
  const began = sent.events;
  const before = await after(began + eventsOf(Math.min(WARM_MINUTES_MAX, MINUTES * WARM)));
  const grown = await after(began + eventsOf(MINUTES));
  console.log(`heap of the live view: ${before} bytes, then ${grown}`);
  expect(grown).toBeLessThan(before * (1 + GROWTH_MAX) + GROWTH_BYTES);
  expect(await rows.count()).toBeGreaterThan(50);
}

/** Tests of a dashboard that runs. Its sessions stay, so they come last. */
export function testEndurance(
  of: () => {
    readonly browser: Browser;
    readonly api: string;
    readonly kafka: string;
  },
): void {
  test(
    'the memory of a live view does not grow while events come',
    async () => {
      const { browser, api, kafka } = of();
      const { page, errors } = await openPage(browser);
      const end = new AbortController();
      const sent = { events: 0 };
      const sending = sendEvents(kafka, sent, end.signal);
      try {
        // Without events the page would have nothing to keep.
        await Promise.race([sending, watch(page, api, sent)]);
        expect(errors).toEqual([]);
      } finally {
        end.abort();
        await sending.catch(() => undefined);
        await page.close();
      }
    },
    (MINUTES * 2 + 10) * 60_000,
  );
}
