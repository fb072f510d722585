import type { Logger } from '@sockscope/runtime';
import type { ClickHouse } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { v7 as uuidV7 } from 'uuid';
import type { Context } from '../http/context.js';

type AuditOutcome = 'started' | 'finished' | 'aborted' | 'failed';

/** The parameters of a request as they were sent; several values of one are a list. */
export function parametersOf({ request }: Pick<Context, 'request'>): Record<string, unknown> {
  const { searchParams } = new URL(request.url, 'http://localhost');
  return Object.fromEntries(
    [...new Set(searchParams.keys())].map((name) => {
      const values = searchParams.getAll(name);
      return [name, values.length === 1 ? values[0] : values];
    }),
  );
}

/** One audited action. */
export interface AuditAction {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  /** The actor: key id or subject of the token. */
  readonly principal: string;
  /** The only users whose sessions it may see; null for all. */
  readonly restrictedTo: readonly string[] | null;
  readonly remoteIp: string;
  /** The action: the route of an export, `login`, `keys/create` and so on. */
  readonly action: string;
  /** Format of the file that is sent; empty if there is none. */
  readonly format: string;
  /** The parameters of an export or of evidence as they were sent, else what was changed; never a secret. */
  readonly details: object;
}

export interface AuditEnd {
  readonly outcome: Exclude<AuditOutcome, 'started'>;
  /** Null if rows were not counted. */
  readonly rows: number | null;
  readonly bytes: number;
}

export interface AuditLog {
  /**
   * Resolves when the beginning is stored: nothing may happen before. Call the result when the action has
   * ended; it never rejects, because the action cannot be undone. A missing end is logged.
   */
  begin(action: AuditAction): Promise<(end: AuditEnd) => Promise<void>>;
  /** Does some work between both entries. */
  around<T>(action: AuditAction, work: () => Promise<T>): Promise<T>;
}

const TABLE = 'export_audit';
const COLUMNS = [
  'export_id',
  'exported_at',
  'principal',
  'restricted_to',
  'remote_ip',
  'route',
  'format',
  'filters',
  'rows',
  'bytes',
  'outcome',
  'ended_at',
] as const;
const WRITE_TIMEOUT_MS = 10_000;
const NOTHING = { rows: 0, bytes: 0 } as const;

/** The sender of a request, as far as the request shows it. */
export function actorOf({ principal, request, nowMs }: Context) {
  return {
    atMs: nowMs,
    principal: principal.id,
    restrictedTo: principal.users,
    remoteIp: request.ip,
  };
}

/** Log of exports, sign-ins and key changes, in ClickHouse: one entry at the beginning, one at the end. */
export function createAuditLog(deps: {
  readonly clickhouse: ClickHouse;
  readonly logger: Logger;
  readonly now: () => number;
}): AuditLog {
  async function write(
    id: string,
    action: AuditAction,
    end: Omit<AuditEnd, 'outcome'> & { readonly outcome: AuditOutcome },
  ): Promise<void> {
    const cells: Readonly<Record<(typeof COLUMNS)[number], unknown>> = {
      export_id: id,
      exported_at: toTimestamp(action.atMs),
      principal: action.principal,
      restricted_to: action.restrictedTo ?? [],
      remote_ip: action.remoteIp,
      route: action.action,
      format: action.format,
      filters: JSON.stringify(action.details),
      rows: end.rows,
      bytes: end.bytes,
      outcome: end.outcome,
      ended_at: end.outcome === 'started' ? null : toTimestamp(deps.now()),
    };
    await deps.clickhouse.insert({
      table: TABLE,
      columns: COLUMNS,
      format: 'JSONCompactEachRow',
      bytes: [Buffer.from(`${JSON.stringify(COLUMNS.map((name) => cells[name]))}\n`)],
      settings: { date_time_input_format: 'best_effort' },
      timeoutMs: WRITE_TIMEOUT_MS,
    });
  }

  const log: AuditLog = {
    async begin(action) {
      const id = uuidV7();
      await write(id, action, { ...NOTHING, outcome: 'started' });
      return (end) =>
        write(id, action, end).catch((error: unknown) => {
          deps.logger.error(
            { err: error, entry_id: id, action: action.action, ...end },
            'the audit log lacks the end of an action',
          );
        });
    },
    async around(action, work) {
      const end = await log.begin(action);
      let outcome: AuditEnd['outcome'] = 'failed';
      try {
        const done = await work();
        outcome = 'finished';
        return done;
      } finally {
        await end({ ...NOTHING, outcome });
      }
    },
  };
  return log;
}
