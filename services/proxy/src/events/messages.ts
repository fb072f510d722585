import type { KafkaConfig } from '@sockscope/runtime/kafka';
import type { EventsConfig } from './config.js';
import type { OutboxCounts } from './outbox.js';

/** What the publishing thread is made with: plain data. */
export interface BackendConfig {
  readonly events: EventsConfig;
  readonly kafka: KafkaConfig;
  readonly proxy_id: string;
  /** See shared.ts. */
  readonly shared: SharedArrayBuffer;
}

/** From the proxy's thread to the publishing one. */
export type ToBackend =
  /** There is something in the intake, and you were asleep. */
  | { readonly kind: 'wake' }
  /** What the disk did not take; it comes behind what is in the intake by now. */
  | { readonly kind: 'chunk'; readonly chunk: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'stop'; readonly timeoutMs: number };

/** Requests to Kafka that failed in the same way. */
export interface PublishFailures {
  readonly code: string;
  /** The protocol's name of the broker's error, `none` where no broker answered. */
  readonly type: string;
  readonly count: number;
}

/** What the publishing side has counted since it began. */
export interface BackendStats extends OutboxCounts {
  readonly published: number;
  readonly refused: number;
  readonly failures: readonly PublishFailures[];
  /** Since when Kafka acknowledges nothing though something waits, milliseconds since 1970; null while it does. */
  readonly failingSinceMs: number | null;
  /** Why, as the operator is told. */
  readonly failure: string | null;
  /** Since the last statement: how long requests took, and how old the oldest event of each was. */
  readonly requestsMs: readonly number[];
  readonly agesMs: readonly number[];
}

/** From the publishing thread to the proxy's. */
export type FromBackend =
  | {
      readonly kind: 'ready';
      readonly intakeDir: string;
      readonly crashedSessions: number;
      readonly foundBytes: number;
    }
  | { readonly kind: 'failed'; readonly message: string }
  /** A chunk that came as a message. */
  | { readonly kind: 'taken'; readonly bytes: number }
  | { readonly kind: 'stats'; readonly stats: BackendStats }
  | {
      readonly kind: 'log';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    }
  | { readonly kind: 'stopped'; readonly leftBytes: number };

/** The publishing side as the proxy's thread sees it. */
export interface Backend {
  post(message: ToBackend): void;
  /** Ends it at once. */
  terminate(): void;
}

/** Starts the publishing side. `receive` is called for everything that it says. */
export type StartBackend = (
  config: BackendConfig,
  receive: (message: FromBackend) => void,
) => Backend;
