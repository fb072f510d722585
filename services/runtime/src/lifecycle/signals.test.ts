import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { signalWithin } from './signals.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

it('a signal fires after its time, also if memory was collected meanwhile', async () => {
  const ending = new AbortController();
  const work = delay(20_000, 'late', { signal: signalWithin(ending.signal, 300) });
  const outcome = work.catch(() => 'in time');
  await delay(10);
  collectGarbage();
  expect(await outcome).toBe('in time');
});

it('a signal fires with the other one', () => {
  const ending = new AbortController();
  const signal = signalWithin(ending.signal, 60_000);
  ending.abort();
  expect(signal.aborted).toBe(true);
});
