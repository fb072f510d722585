import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { rootCertificates } from 'node:tls';
import { ClickHouseLogLevel, createClient, parseError } from '@clickhouse/client';
import type { ClickHouseClient, ClickHouseSettings, ResponseHeaders } from '@clickhouse/client';
import type { z } from 'zod';
import { readSecretFile } from '../config/secret-file.js';
import type { ClickHouseConfig } from './config.js';
import { createDeadline } from './deadline.js';
import type { Deadline } from './deadline.js';
import { ClickHouseError, clickHouseErrorOf } from './errors.js';

/** A value bound to `{name:Type}` in a statement. Text never becomes part of the statement itself. */
export type SqlValue = string | number | bigint | boolean | null | Date | readonly SqlValue[];
export type Settings = Readonly<Record<string, string | number>>;

interface Call {
  /** Ends the call; what the server does with a statement that it has begun is then unknown. */
  readonly signal?: AbortSignal | undefined;
  /** Deadline of the whole call, in place of the configured one. */
  readonly timeoutMs?: number | undefined;
  readonly settings?: Settings | undefined;
  /** Shows in `system.query_log` and in errors; a random one where not given. */
  readonly queryId?: string | undefined;
}

export interface Statement extends Call {
  readonly sql: string;
  readonly params?: Readonly<Record<string, SqlValue>> | undefined;
}

export interface RowQuery<S extends z.ZodType> extends Statement {
  /** The shape of a row; a row of another shape is an error. See columns.ts. */
  readonly row: S;
}

export interface Download extends Statement {
  readonly format: 'CSVWithNames' | 'JSONEachRow' | 'Parquet';
}

export interface Insert extends Call {
  readonly table: string;
  readonly columns: readonly string[];
  readonly format: 'Native' | 'JSONCompactEachRow';
  /** The encoded rows, in pieces that are sent in order. They are not changed nor copied. */
  readonly bytes: readonly Uint8Array[];
}

/** What a query cost the server, by its own count. */
export interface QueryCost {
  readonly readRows: number;
  readonly readBytes: number;
  readonly elapsedMs: number;
}

/**
 * The narrow door to ClickHouse. Nothing is ever sent a second time by itself: who calls knows
 * whether a repetition is harmless. Every error is a ClickHouseError.
 */
export interface ClickHouse {
  readonly database: string;
  /** Resolves when the server answers a SELECT with these credentials. */
  ping(call?: Call): Promise<void>;
  /**
   * Resolves when the server has acknowledged every row. Synchronous (`async_insert=0`), because an
   * asynchronous one is acknowledged before it is durable, or merges with those of others.
   */
  insert(insert: Insert): Promise<void>;
  /** All rows of a SELECT without a FORMAT clause. For results that fit into memory. */
  query<S extends z.ZodType>(query: RowQuery<S>): Promise<z.output<S>[]>;
  /** The same rows with what they cost. */
  queryWithCost<S extends z.ZodType>(
    query: RowQuery<S>,
  ): Promise<{ rows: z.output<S>[]; cost: QueryCost }>;
  /**
   * The rows of a SELECT in chunks as they come; memory stays bounded because reading slower slows
   * the server down. `timeoutMs` spans the whole reading.
   */
  stream<S extends z.ZodType>(query: RowQuery<S>): AsyncGenerator<z.output<S>[], void, undefined>;
  /**
   * The result of a SELECT without a FORMAT clause as the server writes it, in pieces as they come;
   * memory stays bounded like that of `stream`. An exception in the middle is thrown, never a piece.
   * `params` travel in the URL: together they must stay below the server's `http_max_uri_size`.
   */
  download(statement: Download): AsyncGenerator<Uint8Array, void, undefined>;
  /** A statement without a result: DDL, INSERT … SELECT, SYSTEM. */
  command(statement: Statement): Promise<void>;
  close(): Promise<void>;
}

/** Settings that every request carries, so that a server's profile cannot change our results. */
const ALWAYS: Settings = {
  // An exception comes as an HTTP status, never behind a status 200 in the middle of the answer.
  wait_end_of_query: 1,
  // FINAL with indexes, and exact: without the second a row that was replaced may come back.
  use_skip_indexes_if_final: 1,
  use_skip_indexes_if_final_exact_mode: 1,
  // Until the end an answer of up to so many bytes is kept in memory. Without it ClickHouse makes a
  // file for each one and deletes it again: a quarter of the CPU of the smallest question.
  http_response_buffer_size: 4 * 1_024 * 1_024,
};
/**
 * A caller that has gone away should not keep the server busy. The server looks for that only in a
 * request that says of itself that it reads (2: and may set its own limits).
 */
const CANCELLED_WHEN_CLOSED: Settings = {
  readonly: 2,
  cancel_http_readonly_queries_on_client_close: 1,
};
const FOR_ROWS: Settings = {
  output_format_json_quote_64bit_integers: 1,
  output_format_json_quote_denormals: 1,
  date_time_output_format: 'iso',
  ...CANCELLED_WHEN_CLOSED,
};
/** 64-bit integers stay numbers: whoever reads the file knows how to. */
const FOR_DOWNLOADS: Settings = {
  output_format_json_quote_64bit_integers: 0,
  date_time_output_format: 'iso',
  ...CANCELLED_WHEN_CLOSED,
};
const FOR_INSERTS: Settings = {
  async_insert: 0,
  // In a cluster, acknowledged by the shards and not only by the node that was asked.
  distributed_foreground_insert: 1,
};

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** A table's or column's name of ours, quoted. Not for names that come from outside: bind those as `{x:Identifier}`. */
export function quoteIdentifier(name: string): string {
  if (!IDENTIFIER.test(name))
    throw new TypeError(`not a plain identifier: ${JSON.stringify(name)}`);
  return `\`${name}\``;
}

function tlsOf({ ca_file, cert_file, key_file }: ClickHouseConfig): object {
  if (cert_file !== '' && key_file !== '') {
    const tls = {
      cert: readFileSync(cert_file),
      key: readFileSync(key_file),
      ca_cert: ca_file === '' ? Buffer.from(rootCertificates.join('\n')) : readFileSync(ca_file),
    };
    return { tls };
  }
  return ca_file === '' ? {} : { tls: { ca_cert: readFileSync(ca_file) } };
}

function clientOf(config: ClickHouseConfig, url: string): ClickHouseClient {
  return createClient({
    url,
    username: config.user,
    password: config.password,
    database: config.database,
    application: 'sockscope',
    max_open_connections: config.connections_max,
    // Of the socket's silence; the deadline of a call is ours, and ends it first.
    request_timeout: 24 * 3_600_000,
    // ClickHouse closes an idle connection after 10 s (3 s before 23.11): be there first.
    keep_alive: { enabled: true, idle_socket_ttl: 2_000, eagerly_destroy_stale_sockets: true },
    // Arrays of a filter may make a URL too long.
    use_multipart_params_auto: true,
    // What fails is thrown, and logged by who catches it.
    log: { level: ClickHouseLogLevel.OFF },
    ...tlsOf(config),
  });
}

/**
 * Opens no connection before the first call.
 *
 * @param options.failover whether a call may go to `failover_urls` after one could not reach the
 *   address before: a query at once, an insert when its caller repeats it. Commands never do.
 */
export function createClickHouse(
  config: ClickHouseConfig,
  options: { readonly failover?: boolean } = {},
): ClickHouse {
  const urls = options.failover === true ? [config.url, ...config.failover_urls] : [config.url];
  const named = clientOf(config, config.url);
  const clients = urls.map((url, index) => (index === 0 ? named : clientOf(config, url)));
  let current = 0;
  /** The node that answered last. */
  const node = (): ClickHouseClient => clients[current % clients.length] ?? named;

  /** Another node is asked next where this one could not be reached. */
  function leave(used: ClickHouseClient, error: unknown): void {
    const isAway = error instanceof ClickHouseError && error.code === 'clickhouse_network';
    if (isAway && used === node()) current = (current + 1) % clients.length;
  }

  /** Asks each node once. Only for what may be repeated. */
  async function onAnyNode<T>(ask: (client: ClickHouseClient) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      const used = node();
      try {
        return await ask(used);
      } catch (error) {
        leave(used, error);
        if (tries >= clients.length || used === node()) throw error;
      }
    }
  }

  /** A password that was replaced counts from the next request on. */
  function authOf() {
    const { user: username, password_file: file } = config;
    return file === '' ? {} : { auth: { username, password: readSecretFile(file) } };
  }

  function requestOf(call: Call, deadline: Deadline, settings: Settings, queryId: string) {
    return {
      abort_signal: deadline.signal,
      query_id: queryId,
      ...authOf(),
      clickhouse_settings: {
        ...ALWAYS,
        // The server too gives up what was given up here, a little later: a statement that writes
        // goes on there without its caller, beside its own repetition.
        max_execution_time: Math.ceil((call.timeoutMs ?? config.timeout_ms) / 1_000) + 1,
        ...settings,
        ...call.settings,
      } as ClickHouseSettings,
    };
  }

  /** Runs one request under its deadline and turns whatever is thrown into a ClickHouseError. */
  async function bounded<T>(
    call: Call,
    what: string,
    run: (deadline: Deadline, queryId: string) => Promise<T>,
  ): Promise<T> {
    const deadline = createDeadline(call.timeoutMs ?? config.timeout_ms, call.signal);
    try {
      if (deadline.signal.aborted) throw new Error('aborted before it was sent');
      return await run(deadline, call.queryId ?? randomUUID());
    } catch (cause) {
      throw clickHouseErrorOf(cause, what, deadline.ended());
    } finally {
      deadline.clear();
    }
  }

  async function queryWithCost<S extends z.ZodType>(query: RowQuery<S>) {
    return onAnyNode((client) =>
      bounded(query, 'query', async (deadline, queryId) => {
        const result = await client.query({
          query: query.sql,
          query_params: { ...query.params },
          // By column: a third of the text to be parsed, and no splitting into lines.
          format: 'JSONColumnsWithMetadata',
          ...requestOf(query, deadline, FOR_ROWS, queryId),
        });
        const body = await abortable(result.text(), deadline.signal, () => {
          result.close();
        });
        return {
          rows: rowsOf(body).map((row) => parseRow(query.row, row)),
          cost: costOf(result.response_headers),
        };
      }),
    );
  }

  return {
    database: config.database,
    async ping(call = {}) {
      await onAnyNode((client) =>
        bounded(call, 'ping', async (deadline) => {
          const request = { select: true, abort_signal: deadline.signal, ...authOf() } as const;
          const result = await client.ping(request);
          if (!result.success) throw result.error;
        }),
      );
    },
    async insert(insert) {
      const columns = insert.columns.map(quoteIdentifier).join(', ');
      const sql = `INSERT INTO ${quoteIdentifier(insert.table)} (${columns}) FORMAT ${insert.format}`;
      const client = node();
      const inserting = bounded(
        insert,
        `insert into ${insert.table}`,
        async (deadline, queryId) => {
          const result = await client.exec({
            query: sql,
            values: Readable.from(insert.bytes, { objectMode: false }),
            ...requestOf(insert, deadline, FOR_INSERTS, queryId),
          });
          // The socket is free, and the answer whole, only after the body has been read.
          await abortable(text(result.stream), deadline.signal, () => result.stream.destroy());
        },
      );
      await inserting.catch((error: unknown) => {
        leave(client, error);
        throw error;
      });
    },
    async query(query) {
      return (await queryWithCost(query)).rows;
    },
    queryWithCost,
    async *stream(query) {
      const deadline = createDeadline(query.timeoutMs ?? config.timeout_ms, query.signal);
      try {
        const result = await node().query({
          query: query.sql,
          query_params: { ...query.params },
          format: 'JSONEachRow',
          ...requestOf(
            query,
            deadline,
            { ...FOR_ROWS, wait_end_of_query: 0 },
            query.queryId ?? randomUUID(),
          ),
        });
        const rows = result.stream<unknown>();
        const onAbort = () => rows.destroy(new Error('aborted'));
        deadline.signal.addEventListener('abort', onAbort, { once: true });
        try {
          for await (const chunk of rows) yield chunk.map((row) => parseRow(query.row, row.json()));
        } finally {
          // Also where the reader stops early: the server is told by the closed connection.
          deadline.signal.removeEventListener('abort', onAbort);
          result.close();
        }
      } catch (cause) {
        throw clickHouseErrorOf(cause, 'query', deadline.ended());
      } finally {
        deadline.clear();
      }
    },
    async *download(statement) {
      const deadline = createDeadline(statement.timeoutMs ?? config.timeout_ms, statement.signal);
      try {
        const result = await node().exec({
          query: `${statement.sql}\nFORMAT ${statement.format}`,
          query_params: { ...statement.params },
          ...requestOf(
            statement,
            deadline,
            { ...FOR_DOWNLOADS, wait_end_of_query: 0 },
            statement.queryId ?? randomUUID(),
          ),
        });
        const { stream } = result;
        const onAbort = () => stream.destroy(new Error('aborted'));
        deadline.signal.addEventListener('abort', onAbort, { once: true });
        try {
          yield* withoutException(stream, result.response_headers['x-clickhouse-exception-tag']);
        } finally {
          // Also where the reader stops early: the server is told by the closed connection.
          deadline.signal.removeEventListener('abort', onAbort);
          stream.destroy();
        }
      } catch (cause) {
        throw clickHouseErrorOf(cause, 'download', deadline.ended());
      } finally {
        deadline.clear();
      }
    },
    async command(statement) {
      await bounded(statement, 'command', async (deadline, queryId) => {
        await named.command({
          query: statement.sql,
          query_params: { ...statement.params },
          ...requestOf(statement, deadline, {}, queryId),
        });
      });
    },
    async close() {
      await Promise.all(clients.map((client) => client.close()));
    },
  };
}

/**
 * The pieces of an answer up to an exception that the server wrote behind them, which is thrown:
 * between two lines `__exception__` it stands with a tag that only this answer's header names.
 */
async function* withoutException(
  pieces: AsyncIterable<unknown>,
  tag: string | string[] | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const marker = typeof tag === 'string' ? Buffer.from(`\r\n__exception__\r\n${tag}\r\n`) : null;
  const exception: Buffer[] = [];
  let kept: Buffer = Buffer.alloc(0);
  try {
    for await (const piece of pieces) {
      const bytes: Buffer = Buffer.concat([kept, piece as Uint8Array]);
      kept = Buffer.alloc(0);
      if (exception.length > 0) exception.push(bytes);
      else if (marker === null) yield bytes;
      else {
        const at = bytes.indexOf(marker);
        // The marker may lie across two pieces.
        const safe = at >= 0 ? at : Math.max(0, bytes.length - marker.length + 1);
        if (safe > 0) yield bytes.subarray(0, safe);
        if (at >= 0) exception.push(bytes.subarray(at + marker.length));
        else kept = bytes.subarray(safe);
      }
    }
  } catch (cause) {
    // The server cuts the connection behind an exception.
    if (exception.length === 0) throw cause;
  }
  if (exception.length > 0) throw parseError(Buffer.concat(exception).toString('utf8').trim());
  if (kept.length > 0) yield kept;
}

/** Rejects when the signal fires, after `end` has been called; the client's own promise may hang for good then. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal, end: () => void): Promise<T> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => {
      end();
      reject(new Error('aborted'));
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    promise.catch(() => undefined);
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}

/** `{"data": {"a": [1, 2], "b": [3, 4]}, …}` as rows. */
function rowsOf(body: string): Record<string, unknown>[] {
  const { data } = JSON.parse(body) as { data: Record<string, readonly unknown[]> };
  const columns = Object.entries(data);
  const length = columns[0]?.[1].length ?? 0;
  // Copies of one object that has all the names already are made and filled three times as fast as
  // empty ones to which each name is new.
  const empty: Record<string, unknown> = {};
  for (const [name] of columns) empty[name] = null;
  const rows = Array.from({ length }, (): Record<string, unknown> => ({ ...empty }));
  for (const [name, values] of columns) {
    let i = 0;
    for (const row of rows) {
      row[name] = values[i];
      i += 1;
    }
  }
  return rows;
}

function parseRow<S extends z.ZodType>(schema: S, row: unknown): z.output<S> {
  const parsed = schema.safeParse(row);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ');
  throw new ClickHouseError(
    'clickhouse_row',
    `a row does not have the expected shape: ${problems}`,
    {
      retryable: false,
      cause: parsed.error,
    },
  );
}

/** From the header `X-ClickHouse-Summary`, which is complete because the server answers at the end of the query. */
function costOf(headers: ResponseHeaders): QueryCost {
  const header = headers['x-clickhouse-summary'];
  const summary = (typeof header === 'string' ? JSON.parse(header) : {}) as Record<string, unknown>;
  const number = (name: string) => Number(summary[name] ?? 0);
  return {
    readRows: number('read_rows'),
    readBytes: number('read_bytes'),
    elapsedMs: number('elapsed_ns') / 1e6,
  };
}
