import { describe, expect, it, vi } from 'vitest';
import { KafkaError } from './errors.js';
import { createResender, NothingAcceptedError, RecordsRefusedError } from './producer.js';
import type { OutgoingRecord } from './producer.js';

/** Patience for steps without a promised time: the machine may be busy. */
const WAIT = { timeout: 60_000 };

const limits = {
  attempt_timeout_ms: 60_000,
  backoff_first_ms: 1,
  backoff_max_ms: 4,
  believes_refusals: false,
};
const never = new AbortController().signal;

function record(key: string): OutgoingRecord {
  return { key, value: `value of ${key}`, headers: {} };
}

function protocolError(type: string): Error {
  return Object.assign(new Error(type), { name: 'KafkaJSProtocolError', type, retriable: true });
}

type Send = (records: readonly OutgoingRecord[]) => Promise<void>;

/** Links whose sends behave as given, one entry per connection; the last entry stays. */
function scripted(script: readonly Send[]) {
  const log: string[] = [];
  let connections = 0;
  const connect = vi.fn(() => {
    const number = connections;
    connections += 1;
    const send = script[Math.min(number, script.length - 1)];
    log.push(`connect ${number}`);
    return Promise.resolve({
      async send(_topic: string, records: readonly OutgoingRecord[]) {
        log.push(`send ${number} ${records.map((r) => String(r.key)).join(',')}`);
        await send?.(records);
      },
      destroy() {
        log.push(`destroy ${number}`);
      },
    });
  });
  return { connect, log };
}

const ok: Send = () => Promise.resolve();

describe('sending to Kafka', () => {
  it('repeats the whole batch through a fresh connection after a rejection', async () => {
    const { connect, log } = scripted([
      () => Promise.reject(protocolError('NOT_LEADER_FOR_PARTITION')),
      ok,
    ]);
    const producer = createResender(connect, {}, limits);
    await producer.send('t', [record('a'), record('b')], never);
    expect(log).toEqual(['connect 0', 'send 0 a,b', 'destroy 0', 'connect 1', 'send 1 a,b']);
  });

  it('keeps a connection that works', async () => {
    const { connect, log } = scripted([ok]);
    const producer = createResender(connect, {}, limits);
    await producer.send('t', [record('a')], never);
    await producer.send('t', [record('b')], never);
    expect(log).toEqual(['connect 0', 'send 0 a', 'send 0 b']);
    producer.stop();
    expect(log.at(-1)).toBe('destroy 0');
  });

  it('continues when connecting fails, and reports each failure', async () => {
    const good = scripted([ok]);
    let refusals = 3;
    const failures: [string, number][] = [];
    const producer = createResender(
      () => {
        refusals -= 1;
        return refusals >= 0
          ? Promise.reject(Object.assign(new Error('down'), { name: 'KafkaJSConnectionError' }))
          : good.connect();
      },
      { onFailure: (error, attempt) => failures.push([error.code, attempt]) },
      limits,
    );
    await producer.send('t', [record('a')], never);
    expect(failures).toEqual([
      ['kafka_unreachable', 1],
      ['kafka_unreachable', 2],
      ['kafka_unreachable', 3],
    ]);
  });

  it('ends at once when aborted, though the send hangs', async () => {
    const { connect, log } = scripted([() => new Promise(() => undefined)]);
    const producer = createResender(connect, {}, limits);
    const abort = new AbortController();
    const sending = producer.send('t', [record('a')], abort.signal);
    await vi.waitFor(() => {
      expect(log).toContain('send 0 a');
    }, WAIT);
    abort.abort();
    await expect(sending).rejects.toMatchObject({ code: 'kafka_aborted' });
    expect(log.at(-1)).toBe('destroy 0');
  });

  it('gives up a hanging attempt after its time and sends again', async () => {
    const { connect, log } = scripted([() => new Promise(() => undefined), ok]);
    const producer = createResender(connect, {}, { ...limits, attempt_timeout_ms: 20 });
    await producer.send('t', [record('a')], never);
    expect(log).toEqual(['connect 0', 'send 0 a', 'destroy 0', 'connect 1', 'send 1 a']);
  });

  it('discards a connection that comes up after its attempt was given up', async () => {
    const destroyed = vi.fn();
    let release: (() => void) | undefined;
    let connects = 0;
    const late = { send: vi.fn(() => Promise.resolve()), destroy: destroyed };
    const { connect } = scripted([ok]);
    const producer = createResender(
      () => {
        connects += 1;
        if (connects > 1) return connect();
        return new Promise<typeof late>((resolve) => {
          release = () => {
            resolve(late);
          };
        });
      },
      {},
      { ...limits, attempt_timeout_ms: 20 },
    );
    await producer.send('t', [record('a')], never);
    release?.();
    await vi.waitFor(() => {
      expect(destroyed).toHaveBeenCalledOnce();
    }, WAIT);
    expect(late.send).not.toHaveBeenCalled();
  });

  it('sends all records except a permanently refused one, and names it', async () => {
    const sent: string[] = [];
    const { connect } = scripted([
      (records) => {
        if (records.some((r) => r.key === 'bad')) {
          return Promise.reject(protocolError('MESSAGE_TOO_LARGE'));
        }
        sent.push(...records.map((r) => String(r.key)));
        return Promise.resolve();
      },
    ]);
    const producer = createResender(connect, {}, limits);
    const batch = ['a', 'b', 'bad', 'c', 'd'].map(record);
    const error = await producer.send('t', batch, never).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RecordsRefusedError);
    expect(error).toMatchObject({ refused: [record('bad')], retryable: false });
    expect(sent.toSorted()).toEqual(['a', 'b', 'c', 'd']);
  });

  const isBad = (records: readonly OutgoingRecord[]) => records.some(({ key }) => key === 'bad');
  const invalid: Send = () => Promise.reject(protocolError('INVALID_RECORD'));
  const many = (count: number) => Array.from({ length: count }, (_, i) => record(`${i}`));

  it('refuses no record of a topic that takes none, gives up after 16 refusals with the reason, and keeps its connection', async () => {
    const { connect, log } = scripted([invalid]);
    const onFailure = vi.fn<(error: KafkaError) => void>();
    const producer = createResender(connect, { onFailure }, limits);
    const error = await producer.send('t', many(2_000), never).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(NothingAcceptedError);
    expect(error).toMatchObject({ retryable: true, type: 'INVALID_RECORD' });
    expect(log.filter((line) => line.startsWith('send'))).toHaveLength(16);
    expect(log.filter((line) => !line.startsWith('send'))).toEqual(['connect 0']);
    expect(onFailure.mock.calls.map(([each]) => each)).toEqual([error]);
  });

  it('takes a lone record for refused only if the topic accepts another one with it', async () => {
    const { connect } = scripted([(records) => (isBad(records) ? invalid(records) : ok(records))]);
    const producer = createResender(connect, {}, limits);
    const bad = record('bad');
    await producer.send('t', [record('before')], never);
    await expect(producer.send('t', [bad], never)).rejects.toBeInstanceOf(NothingAcceptedError);
    const error = await producer.send('t', [bad, record('good')], never).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RecordsRefusedError);
    expect(error).toMatchObject({ refused: [bad] });
  });

  it('sends refused records again when the topic begins to accept them', async () => {
    let refusals = 5;
    const accepted = new Set<string>();
    const { connect } = scripted([
      (records) => {
        refusals -= 1;
        if (refusals >= 0) return invalid(records);
        for (const { key } of records) accepted.add(String(key));
        return ok(records);
      },
    ]);
    const producer = createResender(connect, {}, limits);
    await producer.send('t', many(6), never);
    expect(accepted.size).toBe(6);
  });

  it('finds a single bad record among the 10,000 of the largest batch, wherever it stands', async () => {
    for (const at of [0, 1, 4_999, 5_000, 9_999]) {
      const accepted = new Set<OutgoingRecord>();
      const { connect } = scripted([
        (records) => {
          if (isBad(records)) return invalid(records);
          for (const each of records) accepted.add(each);
          return ok(records);
        },
      ]);
      const batch = many(10_000).with(at, record('bad'));
      const producer = createResender(connect, {}, limits);
      const error = await producer.send('t', batch, never).catch((e: unknown) => e);
      expect(error).toMatchObject({ refused: [record('bad')] });
      expect(accepted.size).toBe(9_999);
    }
  });

  it.each(['INVALID_TIMESTAMP', 'CORRUPT_MESSAGE', 'INVALID_TOPIC_EXCEPTION'])(
    'drops no record for %s: it is sent again, and the failure names it',
    async (type) => {
      let isWrong = true;
      const failures: KafkaError[] = [];
      const { connect, log } = scripted([
        () => (isWrong ? Promise.reject(protocolError(type)) : Promise.resolve()),
      ]);
      const producer = createResender(
        connect,
        {
          onFailure(error, attempt) {
            failures.push(error);
            isWrong = attempt < 12;
          },
        },
        limits,
      );
      await producer.send('t', [record('a')], never);
      await producer.send('t', [record('b'), record('c')], never);
      expect(failures).toHaveLength(12);
      expect(failures[0]).toMatchObject({ code: 'kafka_rejected', type });
      expect(failures[0]?.message).toContain(type);
      expect(log.filter((line) => line.endsWith(' a'))).toHaveLength(13);
      expect(log.at(-1)).toMatch(/send \d+ b,c/);
    },
  );

  it('refuses a second send while one is in flight', async () => {
    const { connect } = scripted([() => new Promise(() => undefined)]);
    const producer = createResender(connect, {}, limits);
    const abort = new AbortController();
    const first = producer.send('t', [record('a')], abort.signal);
    await expect(producer.send('t', [record('b')], never)).rejects.toThrow('one send at a time');
    abort.abort();
    await expect(first).rejects.toBeInstanceOf(KafkaError);
  });
});
