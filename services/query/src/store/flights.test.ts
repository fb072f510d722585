import { describe, expect, it } from 'vitest';
import { createFlights } from './flights.js';

const never = new AbortController().signal;

/** A question whose answer the test gives. */
function question() {
  const asked: { signal: AbortSignal; answer(value: number): void; fail(error: Error): void }[] =
    [];
  const start = (signal: AbortSignal) =>
    new Promise<number>((resolve, reject) => {
      asked.push({ signal, answer: resolve, fail: reject });
    });
  return { asked, start };
}

describe('flights', () => {
  it('ask once for all callers with the same question, and again after the answer', async () => {
    const flights = createFlights<number>();
    const { asked, start } = question();
    const both = [flights.join('a', never, start), flights.join('a', never, start)];
    const other = flights.join('b', never, start);
    expect(asked).toHaveLength(2);
    asked[0]?.answer(1);
    asked[1]?.answer(2);
    expect(await Promise.all([...both, other])).toEqual([1, 1, 2]);
    expect(flights.size).toBe(0);
    const again = flights.join('a', never, start);
    asked[2]?.answer(3);
    expect(await again).toBe(3);
  });

  it('continue while anybody waits, and are given up when nobody does', async () => {
    const flights = createFlights<number>();
    const { asked, start } = question();
    const gone = [new AbortController(), new AbortController()];
    const waits = gone.map((each) => flights.join('a', each.signal, start));
    const outcomes = Promise.allSettled(waits);
    gone[0]?.abort();
    await Promise.allSettled(waits.slice(0, 1));
    expect(asked[0]?.signal.aborted).toBe(false);
    gone[1]?.abort();
    expect((await outcomes).map((each) => each.status)).toEqual(['rejected', 'rejected']);
    expect(asked[0]?.signal.aborted).toBe(true);
    // The next caller does not join an abandoned call.
    const next = flights.join('a', never, start);
    expect(asked).toHaveLength(2);
    asked[1]?.answer(5);
    expect(await next).toBe(5);
  });

  it('report a failure to all waiters, and try again the next time', async () => {
    const flights = createFlights<number>();
    const { asked, start } = question();
    const both = [flights.join('a', never, start), flights.join('a', never, start)];
    asked[0]?.fail(new Error('down'));
    const outcomes = await Promise.allSettled(both);
    expect(outcomes.map((each) => each.status)).toEqual(['rejected', 'rejected']);
    const next = flights.join('a', never, start);
    asked[1]?.answer(1);
    expect(await next).toBe(1);
  });
});
