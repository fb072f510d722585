import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../../bench/sqlite-peer.py', import.meta.url));

/** The script's answer to `load`. */
export interface Loaded {
  readonly rows: number;
  readonly seconds: number;
  readonly bytes: number;
  readonly version: string;
}

/** A SQLite file in a process of its own. The times are the library's, without any HTTP. */
export interface SqlitePeer {
  /** @param rows tab-separated lines in the column order of the script. */
  load(rows: ReadableStream<Uint8Array>): Promise<Loaded>;
  /** Milliseconds that the statement took, all of its rows fetched. */
  ask(sql: string, params: readonly (string | number)[]): Promise<number>;
  stop(): Promise<void>;
}

/** Null if this machine has no Python with its sqlite3 module. */
export function startSqlitePeer(file: string): SqlitePeer | null {
  const probe = spawnSync('python3', ['-c', 'import sqlite3']);
  if (probe.status !== 0) return null;
  const child = spawn('python3', [SCRIPT, file], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();

  async function answer(): Promise<unknown> {
    const next = await lines.next();
    if (next.done === true) throw new Error('the SQLite peer ended');
    return JSON.parse(next.value);
  }

  async function write(chunk: string | Uint8Array): Promise<void> {
    if (!child.stdin.write(chunk)) await once(child.stdin, 'drain');
  }

  return {
    async load(rows) {
      await write('{"do":"load"}\n');
      // Backpressure both ways: no rows are held here.
      for await (const chunk of Readable.fromWeb(rows as never)) await write(chunk as Uint8Array);
      await write('\n');
      return (await answer()) as Loaded;
    },
    async ask(sql, params) {
      await write(`${JSON.stringify({ do: 'ask', sql, params })}\n`);
      return ((await answer()) as { ms: number }).ms;
    },
    async stop() {
      child.stdin.end();
      await once(child, 'exit');
    },
  };
}
