/** Requests of the bench to its load generator, over Node's IPC. */

/** The address of a SOCKS5 proxy, or null for no proxy at all. */
export type Via = { readonly host: string; readonly port: number } | null;

export const BULK_CASES = ['download', 'upload'] as const;

export type Job =
  | {
      readonly kind: (typeof BULK_CASES)[number];
      readonly connections: number;
      readonly durationMs: number;
    }
  | {
      readonly kind: 'connect_rate';
      /** Connections at once: constantly, or at most if `perSecond` sets the rate. */
      readonly atOnce: number;
      readonly perSecond?: number;
      readonly durationMs: number;
    }
  /** Sessions that stay open; each has 100 bytes echoed every `echoEveryMs`. */
  | {
      readonly kind: 'hold';
      readonly sessions: number;
      readonly echoEveryMs: number;
      readonly durationMs: number;
    }
  | { readonly kind: 'ping_pong'; readonly bytes: number; readonly durationMs: number }
  /** Handshakes one after the other. */
  | { readonly kind: 'handshake'; readonly durationMs: number }
  /** Downloads that continue until `close_idle`. */
  | { readonly kind: 'open_downloads'; readonly connections: number }
  | { readonly kind: 'open_idle'; readonly sessions: number }
  | { readonly kind: 'close_idle' };

export interface JobResult {
  /** Bytes, connections, round trips or handshakes counted while measuring. */
  readonly count: number;
  /** The same from the beginning of the job, warm-up included, for the cost of the whole job. */
  readonly total: number;
  /** The length of the measurement. */
  readonly elapsedMs: number;
  readonly failures: number;
  /** Median of single operations, if the job measures them. */
  readonly p50Us: number | null;
  readonly p99Us: number | null;
}

export interface JobRequest {
  readonly via: Via;
  readonly job: Job;
}

export type JobReply =
  | { readonly ready: true }
  | { readonly result: JobResult }
  | { readonly error: string };
