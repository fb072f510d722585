import type { KafkaConfig } from '@sockscope/runtime/kafka';
import type { EventsConfig } from './config.js';

/** The start message of the publishing thread: plain data. */
export interface BackendConfig {
  readonly events: EventsConfig;
  readonly kafka: KafkaConfig;
  readonly proxy_id: string;
  /** See shared.ts and spool/table.ts. */
  readonly shared: SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
}

/** Messages from the proxy's thread to the publishing one. */
export type ToBackend =
  /** Slots have changed. Open sessions that began before position `covered` of the log are in the table. */
  | { readonly kind: 'swept'; readonly covered: number }
  /** The oldest events that the disk did not take. The next ones come when these are repaid. */
  | { readonly kind: 'lent'; readonly chunk: Uint8Array }
  | {
      readonly kind: 'stop';
      readonly timeoutMs: number;
      /** No session is open any more. */
      readonly isClean: boolean;
    };

/** Requests to Kafka that failed in the same way. */
export interface PublishFailures {
  readonly code: string;
  /** The protocol's name of the broker's error, `none` if no broker answered. */
  readonly type: string;
  readonly count: number;
}

/** Why events wait for Kafka. */
export interface Outage {
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  /** The reason, as the operator sees it. */
  readonly why: string;
}

/** Counts of the way to Kafka since the start. */
export interface DeliveryStats {
  published: number;
  refused: number;
  readonly failures: readonly PublishFailures[];
  /** Null while Kafka acknowledges everything. */
  readonly outage: Outage | null;
  /** Durations of the requests since the last statement, and the age of each one's oldest event. */
  readonly requestsMs: number[];
  readonly agesMs: number[];
}

/** The counts of the publishing side since it began. */
export interface BackendStats extends DeliveryStats {
  /** Published TrafficDeltas that a newer one could have superseded. */
  readonly publishedReports: number;
  /** TrafficDeltas that wait and may be superseded. */
  readonly waitingReports: number;
  readonly lostBytes: number;
  readonly spoolErrors: number;
  readonly tableBytes: number;
  readonly crashedSessions: number;
}

/** Messages from the publishing thread to the proxy's. */
export type FromBackend =
  /** The folder of the log, and the position where it continues. */
  | { readonly kind: 'ready'; readonly dir: string; readonly position: number }
  | { readonly kind: 'failed'; readonly message: string }
  /** The lent events are acknowledged. */
  | { readonly kind: 'repaid' }
  | { readonly kind: 'stats'; readonly stats: BackendStats }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    }
  | { readonly kind: 'stopped' };

/** The publishing side as the proxy's thread sees it. */
export interface Backend {
  post(message: ToBackend): void;
  /** Ends it at once. */
  terminate(): void;
}

/** Starts the publishing side. `receive` is called for everything that it sends. */
export type StartBackend = (
  config: BackendConfig,
  receive: (message: FromBackend) => void,
) => Backend;
