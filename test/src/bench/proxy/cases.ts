import type { Job } from './generator/protocol.js';

export interface BenchOptions {
  readonly durationMs: number;
  readonly idleSessions: number;
}

/** One number that a case yields in one round; more is better unless `lowerIsBetter`. */
export interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly lowerIsBetter: boolean;
}

export type BenchCase =
  | {
      readonly name: string;
      readonly kind: 'job';
      readonly job: (options: BenchOptions) => Job;
      /** Downloads that never end, by another process, so that the generator does not cause the delay. */
      readonly besideDownloads?: number;
      /** Measures of the job's result, times `scale`: a rate per second, CPU of the proxy or of Kafka per piece, a latency. */
      readonly measures: readonly (Measure & {
        readonly from: 'rate' | 'cpu' | 'kafka_cpu' | 'p50' | 'p99';
        readonly scale: number;
      })[];
    }
  | { readonly name: string; readonly kind: 'idle'; readonly measures: readonly Measure[] };

const GBIT_PER_BYTE = 8 / 1e9;

function bulk(kind: 'download' | 'upload', connections: number): BenchCase {
  const name = `${kind}-${connections}`;
  return {
    name,
    kind: 'job',
    job: ({ durationMs }) => ({ kind, connections, durationMs }),
    measures: [
      { name, unit: 'Gbit/s', lowerIsBetter: false, from: 'rate', scale: GBIT_PER_BYTE },
      { name: `${name} CPU`, unit: 'ms/GB', lowerIsBetter: true, from: 'cpu', scale: 1e12 },
    ],
  };
}

function handshake(downloads: number): BenchCase {
  const name = downloads === 0 ? 'handshake' : `handshake-beside-${downloads}-downloads`;
  return {
    name,
    kind: 'job',
    besideDownloads: downloads,
    job: ({ durationMs }) => ({ kind: 'handshake', durationMs }),
    measures: [
      { name: `${name} p50`, unit: 'µs', lowerIsBetter: true, from: 'p50', scale: 1 },
      { name: `${name} p99`, unit: 'µs', lowerIsBetter: true, from: 'p99', scale: 1 },
    ],
  };
}

export const BENCH_CASES: readonly BenchCase[] = [
  bulk('download', 1),
  bulk('download', 16),
  bulk('upload', 1),
  bulk('upload', 16),
  {
    name: 'connect-rate',
    kind: 'job',
    job: ({ durationMs }) => ({ kind: 'connect_rate', atOnce: 32, durationMs }),
    measures: [
      { name: 'connect-rate', unit: '1/s', lowerIsBetter: false, from: 'rate', scale: 1 },
      { name: 'connect-rate CPU', unit: 'µs/1', lowerIsBetter: true, from: 'cpu', scale: 1e6 },
      {
        name: "connect-rate Kafka's CPU",
        unit: 'µs/1',
        lowerIsBetter: true,
        from: 'kafka_cpu',
        scale: 1e6,
      },
    ],
  },
  {
    name: 'ping-pong',
    kind: 'job',
    job: ({ durationMs }) => ({ kind: 'ping_pong', bytes: 64, durationMs }),
    measures: [
      { name: 'ping-pong', unit: '1/s', lowerIsBetter: false, from: 'rate', scale: 1 },
      { name: 'ping-pong CPU', unit: 'µs/1', lowerIsBetter: true, from: 'cpu', scale: 1e6 },
      { name: 'ping-pong p99', unit: 'µs', lowerIsBetter: true, from: 'p99', scale: 1 },
    ],
  },
  handshake(0),
  handshake(16),
  {
    name: 'idle',
    kind: 'idle',
    measures: [{ name: 'idle session', unit: 'KB', lowerIsBetter: true }],
  },
];
