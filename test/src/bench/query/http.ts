import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** More than a flood ever has under way, and fewer than the service takes. */
const CONNECTIONS_MAX = 2_048;
const TIMEOUT_MS = 60_000;

export interface Answer {
  readonly status: number;
  /** Whether the answer has a Retry-After. */
  readonly hasRetryAfter: boolean;
  readonly ms: number;
  readonly body: string;
}

export interface HttpClient {
  readonly base: string;
  /** GET, timed from before the request until the whole answer is here. */
  get(path: string): Promise<Answer>;
  close(): void;
}

/** @param base such as http://127.0.0.1:8080 */
export function createHttpClient(base: string): HttpClient {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
  return {
    base,
    get(path) {
      return new Promise((resolve, reject) => {
        const begun = performance.now();
        const req = request(`${base}${path}`, { agent, timeout: TIMEOUT_MS }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const ms = performance.now() - begun;
            resolve({
              status: response.statusCode ?? 0,
              hasRetryAfter: response.headers['retry-after'] !== undefined,
              ms,
              body: Buffer.concat(chunks).toString(),
            });
          });
        });
        req.on('timeout', () => req.destroy(new Error(`no answer in time: ${path}`)));
        req.on('error', reject);
        req.end();
      });
    },
    close() {
      agent.destroy();
    },
  };
}

/** The value below which the given part of the sorted values lies. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
}

export interface Load {
  readonly requests: number;
  /** Answers other than 200 and an orderly refusal. */
  readonly failures: number;
  /** 503 with Retry-After. */
  readonly refused: number;
  /** Median of the answers that were not refused. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
  readonly longestRefusedMs: number;
  /** Requests that were answered and not refused, per second of the run. */
  readonly perSecond: number;
  /** Part of the requests that were equal to one of the second before them. */
  readonly repeated: number;
}

const REPEAT_MS = 1_000;

/**
 * An open loop: requests begin at their times whether or not earlier ones have been answered, so a
 * slow server is not spared. A request is timed from when it was due.
 */
export async function openLoop(
  client: HttpClient,
  perSecond: number,
  seconds: number,
  pathOf: (n: number) => string,
): Promise<Load> {
  const times: number[] = [];
  const refusals: number[] = [];
  const askedAt = new Map<string, number>();
  let [failures, repeated] = [0, 0];
  const running: Promise<void>[] = [];
  const begun = performance.now();
  const total = perSecond * seconds;
  for (let n = 0; n < total; n += 1) {
    const due = begun + (n * 1_000) / perSecond;
    const waitMs = due - performance.now();
    if (waitMs > 1) await delay(waitMs);
    const path = pathOf(n);
    // An answer is as old as its question, however often it was given since.
    if (due - (askedAt.get(path) ?? -Infinity) < REPEAT_MS) repeated += 1;
    else askedAt.set(path, due);
    running.push(
      client.get(path).then(
        ({ status, hasRetryAfter }) => {
          const isRefused = status === 503 && hasRetryAfter;
          (isRefused ? refusals : times).push(performance.now() - due);
          if (status !== 200 && !isRefused) failures += 1;
        },
        () => {
          failures += 1;
        },
      ),
    );
  }
  await Promise.all(running);
  const tookMs = performance.now() - begun;
  return {
    requests: total,
    failures,
    refused: refusals.length,
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    longestMs: quantile(times, 1),
    longestRefusedMs: refusals.length === 0 ? 0 : quantile(refusals, 1),
    perSecond: (times.length * 1_000) / tookMs,
    repeated: repeated / total,
  };
}
