import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { z } from 'zod';
import { abortable, costOf, parseRow, rowsOf, withoutException } from './answers.js';
import type { QueryCost } from './answers.js';
import { createNodeClient, requestAuthOf } from './client.js';
import type { ClickHouseConfig } from './config.js';
import { createDeadline } from './deadline.js';
import type { Deadline } from './deadline.js';
import { ClickHouseError, clickHouseErrorOf } from './errors.js';

/** A value bound to `{name:Type}` in a statement. Text never becomes part of the statement itself. */
export type SqlValue = string | number | bigint | boolean | null | Date | readonly SqlValue[];
export type Settings = Readonly<Record<string, string | number>>;

interface Call {
  /** Ends the call. The server may still finish a statement that it has begun. */
  readonly signal?: AbortSignal | undefined;
  /** Deadline of the whole call; replaces the configured one. */
  readonly timeoutMs?: number | undefined;
  readonly settings?: Settings | undefined;
  /** Shows in `system.query_log` and in errors; a random one if not given. */
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

/**
 * The only access to ClickHouse. It never repeats a statement: the caller knows whether a
 * repetition is safe. Every error is a ClickHouseError.
 */
export interface ClickHouse {
  readonly database: string;
  /** Resolves when the server answers a SELECT with these credentials. */
  ping(call?: Call): Promise<void>;
  /**
   * Resolves when the server has acknowledged every row. Synchronous (`async_insert=0`), because an
   * asynchronous one is acknowledged before it is durable, or merges with the inserts of others.
   */
  insert(insert: Insert): Promise<void>;
  /** All rows of a SELECT without a FORMAT clause. For results that fit into memory. */
  query<S extends z.ZodType>(query: RowQuery<S>): Promise<z.output<S>[]>;
  /** The same rows and their cost. */
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
   * memory stays as bounded as with `stream`. An exception in the middle is thrown, never a piece.
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
  // The server keeps an answer of up to this many bytes in memory until its end. Without it
  // ClickHouse makes a file for each one and deletes it again: a quarter of the CPU of the smallest
  // question.
  http_response_buffer_size: 4 * 1_024 * 1_024,
};
/**
 * A caller that disconnected should not keep the server busy. The server checks for that only in a
 * request that is marked as reading (2: and may set its own limits).
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
/** 64-bit integers stay numbers in files; readers of files can handle them. */
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
  const named = createNodeClient(config, config.url);
  const clients = urls.map((url, index) => (index === 0 ? named : createNodeClient(config, url)));
  let current = 0;
  /** The node that answered last. */
  const node = (): ClickHouseClient => clients[current % clients.length] ?? named;

  /** If this node cannot be reached, the next call uses another one. */
  function leave(used: ClickHouseClient, error: unknown): void {
    const isAway = error instanceof ClickHouseError && error.code === 'clickhouse_network';
    if (isAway && used === node()) current = (current + 1) % clients.length;
  }

  /** Asks each node once. Only for statements that may be repeated. */
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

  function requestOf(call: Call, deadline: Deadline, settings: Settings, queryId: string) {
    return {
      abort_signal: deadline.signal,
      query_id: queryId,
      ...requestAuthOf(config),
      clickhouse_settings: {
        ...ALWAYS,
        // The server cancels the statement a little after us. Otherwise a write would continue
        // there, beside its own repetition.
        max_execution_time: Math.ceil((call.timeoutMs ?? config.timeout_ms) / 1_000) + 1,
        ...settings,
        ...call.settings,
      } as ClickHouseSettings,
    };
  }

  /** Runs one request under its deadline and turns every error into a ClickHouseError. */
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
      // Not the client's own ping, which takes no password from a file.
      await queryWithCost({ ...call, sql: 'SELECT 1', row: z.unknown() });
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
          // Also if the reader stops early: the closed connection tells the server.
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
          // Also if the reader stops early: the closed connection tells the server.
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
