/**
 * The only place that creates a kafkajs client: connection settings, the log bridge, the repair of
 * its request queue, and sockets that can be ended at once.
 */
import { createRequire } from 'node:module';
import net from 'node:net';
import tls from 'node:tls';
import kafkajs from 'kafkajs';
import type { ISocketFactory, Kafka, LogEntry } from 'kafkajs';
import { bootstrapList, installBootstrap, registerUse } from './bootstrap.js';
import type { KafkaConfig } from './config.js';
import { saslOf, tlsOptionsOf } from './credentials.js';
import { KafkaError } from './errors.js';
import type { ClientUse } from './support.js';

const KEEP_ALIVE_DELAY_MS = 30_000;

/** A logger, as far as it is needed here. */
export interface DebugLog {
  debug(fields: object, message: string): void;
}

export interface KafkaClient {
  readonly kafka: Kafka;
  /** The client's id that brokers see. */
  readonly clientId: string;
  /**
   * Ends the client permanently: it rejects pending requests, closes every connection, and opens
   * none again, even if kafkajs still retries (ADR 0027). kafkajs's own `disconnect` waits for
   * pending requests, up to the request timeout, and lets a retry connect again.
   */
  destroy(): void;
}

/**
 * A client whose own retries of requests are off (`retries` is for connecting and
 * metadata only): see ADR 0002 for why repetition belongs to the caller.
 *
 * @param role appended to the client id, such as `proxy-1`.
 */
export function createKafkaClient(
  config: KafkaConfig,
  deps: {
    readonly logger: DebugLog;
    readonly role: string;
    /** The use of the client. A broker that is too old for it is refused with a sentence. */
    readonly use: ClientUse;
    readonly retries?: number;
  },
): KafkaClient {
  repairRequestQueue();
  installBootstrap();
  const sockets = new Set<net.Socket>();
  let isDestroyed = false;
  const discarded = () =>
    new KafkaError('kafka_unreachable', 'connection discarded', { retryable: true });
  const sasl = saslOf(config);
  const clientId = `${config.client_id}-${deps.role}`.slice(0, 249);
  const socketFactory: ISocketFactory = ({ host, port, onConnect }) => {
    if (isDestroyed) throw discarded();
    // Not kafkajs's copy from the start of the client, because files may have changed.
    const secure = tlsOptionsOf(config);
    const socket =
      secure === null
        ? net.connect({ host, port, noDelay: true }, onConnect)
        : tls.connect(
            { host, port, ...(net.isIP(host) === 0 ? { servername: host } : {}), ...secure },
            onConnect,
          );
    socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  registerUse(socketFactory, deps.use);
  const kafka = new kafkajs.Kafka({
    brokers: bootstrapList(config.brokers),
    clientId,
    connectionTimeout: config.connect_timeout_ms,
    authenticationTimeout: config.connect_timeout_ms,
    requestTimeout: config.request_timeout_ms,
    enforceRequestTimeout: true,
    retry: { retries: deps.retries ?? 0, initialRetryTime: 200, maxRetryTime: 5_000 },
    logLevel: kafkajs.logLevel.INFO,
    logCreator: () => logBridge(deps.logger),
    socketFactory,
    ...(sasl === null ? {} : { sasl }),
  });
  return {
    kafka,
    clientId,
    destroy() {
      isDestroyed = true;
      // An error, because kafkajs rejects its pending requests on 'error' and not on 'close'.
      for (const socket of sockets) socket.destroy(discarded());
    },
  };
}

/**
 * kafkajs's log is for debugging only, because it repeats its complaints with every attempt.
 * Everything important is an error or an event, and its handler logs it.
 */
function logBridge(logger: DebugLog): (entry: LogEntry) => void {
  return ({
    label,
    namespace,
    log: { message, timestamp: _timestamp, logger: _name, ...fields },
  }) => {
    logger.debug({ kafkajs: { level: label, namespace, ...fields } }, message);
  };
}

interface RequestQueue {
  readonly pending: { readonly length: number };
  readonly throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
}

const CHECK_PENDING_INTERVAL_MS = 10;
let repaired = false;

/**
 * kafkajs 2.2.4 arms a timer with a negative delay after every check, even with nothing pending, and
 * that timer checks again: about 1,800 wake-ups a second in an idle process, and a
 * TimeoutNegativeWarning on Node 24. The queue needs the timer only while something is pending; a
 * push and every answer call this method anyway.
 */
function repairRequestQueue(): void {
  if (repaired) return;
  repaired = true;
  const require = createRequire(import.meta.url);
  const { prototype } = require('kafkajs/src/network/requestQueue') as {
    prototype: { scheduleCheckPendingRequests(this: RequestQueue): void };
  };
  prototype.scheduleCheckPendingRequests = function scheduleCheckPendingRequests(): void {
    if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return;
    const throttledMs = this.throttledUntil - Date.now();
    this.throttleCheckTimeoutId = setTimeout(
      () => {
        this.throttleCheckTimeoutId = null;
        this.checkPendingRequests();
      },
      throttledMs > 0 ? throttledMs : CHECK_PENDING_INTERVAL_MS,
    );
  };
}
