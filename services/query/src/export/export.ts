/**
 * Guarantee: a download that ends normally is the whole export, and its beginning and its end are in
 * the audit log. A failed export is cut off without the end that HTTP prescribes, so
 * that no client takes a part for the whole. Memory is bounded: the client's reading paces ClickHouse.
 */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { ClickHouseError } from '@sockscope/runtime/clickhouse';
import type { Logger } from '@sockscope/runtime';
import { EXPORT_TYPES } from '@sockscope/schemas/api';
import type { ExportFormat } from '@sockscope/schemas/api';
import { actorOf, parametersOf } from '../audit/log.js';
import type { AuditLog } from '../audit/log.js';
import type { Context } from '../http/context.js';
import { originHeadersOf } from '../http/origins.js';
import { requireScope } from '../auth/principal.js';
import { EXPORT_SETTINGS } from '../sql/exports.js';
import type { ExportStatement } from '../sql/exports.js';
import type { Gate } from '../store/gate.js';
import type { StoreMetrics } from '../store/metrics.js';
import type { LongSessions } from '../store/long-sessions.js';
import type { Retention } from '../store/retention.js';
import { tooMuchOf } from '../store/too-much.js';
import { PROGRESS_MAX_MS } from './config.js';
import type { ExportConfig } from './config.js';
import type { RunningExports } from './running.js';

export interface ExportDeps {
  readonly clickhouse: ClickHouse;
  readonly audit: AuditLog;
  readonly gate: Gate;
  readonly running: RunningExports;
  readonly retention: Retention;
  readonly longSessions: LongSessions;
  readonly metrics: StoreMetrics;
  readonly logger: Logger;
  readonly config: ExportConfig;
  readonly limits: { readonly rows_to_read_max: number; readonly memory_max_bytes: number };
}

const CLICKHOUSE_FORMATS = {
  csv: 'CSVWithNames',
  ndjson: 'JSONEachRow',
  parquet: 'Parquet',
} as const satisfies Record<ExportFormat, string>;

export interface Export {
  readonly format: ExportFormat;
  /** Name of the client's file and in the audit log: fixed text, such as `sessions`. */
  readonly name: string;
  statement(): Promise<ExportStatement>;
}

/** Sends an export as the answer to a request. */
export async function sendExport(deps: ExportDeps, context: Context, of: Export): Promise<void> {
  requireScope(context, 'export');
  if (context.request.method === 'HEAD') {
    // Fastify would declare the answer empty; its length is not known.
    context.reply.hijack();
    context.reply.raw.writeHead(200, headersOf(of)).end();
    return;
  }
  const leave = await deps.gate.enter(context);
  try {
    await send(deps, context, of, await of.statement());
  } finally {
    leave();
  }
}

async function send(
  deps: ExportDeps,
  context: Context,
  of: Export,
  statement: ExportStatement,
): Promise<void> {
  // Nothing leaves before it is written down that it does.
  const writeEnd = await deps.audit.begin({
    ...actorOf(context),
    action: of.name,
    format: of.format,
    details: parametersOf(context),
  });
  const ended = deps.running.add(() => {
    cutOff(context.reply.raw);
  });
  const sent = createCounter(of.format);
  const end = deps.metrics.duration.startTimer({ query: statement.name });
  let outcome: 'finished' | 'aborted' | 'failed' = 'failed';
  try {
    outcome = await pump(deps, context, { of, statement, sent });
  } catch (error) {
    const code = error instanceof ClickHouseError ? error.code : 'unknown';
    deps.metrics.errors.inc({ query: statement.name, code });
    if (context.reply.raw.destroyed) outcome = 'aborted';
    if (!context.reply.sent) {
      const { rows_to_read_max: rowsMax } = deps.limits;
      const { timeout_ms: timeoutMs } = deps.config;
      const limits = { rowsMax, timeoutMs };
      throw await tooMuchOf(error, statement, { ...deps, ...limits, nowMs: context.nowMs });
    }
    deps.logger.warn({ err: error, export: of.name }, 'export failed in the middle');
    cutOff(context.reply.raw);
  } finally {
    end();
    await writeEnd({ outcome, rows: sent.rows(), bytes: sent.bytes() });
    ended();
  }
}

/** Resets the connection: in HTTP/1.0, which reverse proxies speak, its end would make the part a whole answer. */
function cutOff(raw: ServerResponse): void {
  raw.socket?.resetAndDestroy();
  raw.destroy();
}

interface Counter {
  add(piece: Uint8Array): void;
  bytes(): number;
  /** Null for Parquet, which has no lines. */
  rows(): number | null;
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;

/** Counts the sent rows, because ClickHouse knows the number of rows only after the last of them. */
function createCounter(format: ExportFormat): Counter {
  let bytes = 0;
  let lines = 0;
  // A line break inside quotes is part of a CSV cell. Inner quotes are doubled, so they come in pairs.
  let isQuoted = false;
  return {
    add(piece) {
      bytes += piece.byteLength;
      if (format === 'parquet') return;
      for (const byte of piece) {
        if (byte === QUOTE) isQuoted = format === 'csv' && !isQuoted;
        else if (byte === NEWLINE && !isQuoted) lines += 1;
      }
    },
    bytes: () => bytes,
    rows() {
      if (format === 'parquet') return null;
      return format === 'csv' ? Math.max(0, lines - 1) : lines;
    },
  };
}

function headersOf({ format, name }: Export): Record<string, string> {
  const fileName = `${name.replaceAll('/', '-')}.${format}`;
  return {
    'content-type': EXPORT_TYPES[format],
    'content-disposition': `attachment; filename="${fileName}"`,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
}

/** The first piece decides whether there is an answer at all; until then a problem can still be reported. */
async function pump(
  deps: ExportDeps,
  context: Context,
  {
    of,
    statement,
    sent,
  }: { readonly of: Export; readonly statement: ExportStatement; readonly sent: Counter },
): Promise<'finished' | 'aborted'> {
  const { raw } = context.reply;
  // A signal of its own, because the request's signal is silent once the reply is taken over.
  const gone = new AbortController();
  raw.once('close', () => {
    gone.abort();
  });
  // A client that left before the audit entry was written does not signal again.
  if (raw.destroyed) gone.abort();
  // A client that takes nothing would keep its place at the gate, and ClickHouse's answer,
  // permanently.
  const deadline = setTimeout(() => {
    gone.abort();
  }, deps.config.timeout_ms);
  raw.once('close', () => {
    clearTimeout(deadline);
  });
  const { sql, params } = await deps.longSessions.bind(statement);
  const pieces = deps.clickhouse.download({
    sql,
    params,
    format: CLICKHOUSE_FORMATS[of.format],
    signal: gone.signal,
    timeoutMs: deps.config.timeout_ms,
    settings: {
      ...EXPORT_SETTINGS,
      ...(await deps.retention.settings()),
      max_rows_to_read: deps.limits.rows_to_read_max,
      max_memory_usage: deps.limits.memory_max_bytes,
      max_execution_time: Math.ceil(deps.config.timeout_ms / 1_000) + 1,
      max_result_rows: deps.config.rows_max,
      result_overflow_mode: 'throw',
    },
  });
  let next = await pieces.next();
  context.reply.hijack();
  raw.writeHead(200, { ...originHeadersOf(context.reply), ...headersOf(of) });
  while (next.done !== true) {
    sent.add(next.value);
    // The next piece is asked for only when the client has taken this one.

    if (!raw.write(next.value)) await drained(raw, gone);
    if (gone.signal.aborted) {
      await pieces.return();
      if (!raw.destroyed) throw new Error('the client reads the export too slowly');
      return 'aborted';
    }
    next = await pieces.next();
  }
  raw.end();
  return 'finished';
}

/** Resolves when the client has read all pending bytes, or was given up. */
async function drained(raw: ServerResponse, gone: AbortController): Promise<void> {
  const deadline = setTimeout(() => {
    gone.abort();
  }, PROGRESS_MAX_MS);
  await once(raw, 'drain', { signal: gone.signal }).catch(() => undefined);
  clearTimeout(deadline);
}
