import { createLogger, durationMs, SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import { KEY_LIMITS, SCOPES } from '@sockscope/schemas/api';
import { z } from 'zod';
import { createAuditLog } from '../audit/log.js';
import type { ApiKeyRow } from '../sql/api-keys.js';
import { endKey, findKey, insertKey, keyState, listKeys } from './key-table.js';
import { isScope } from './principal.js';

interface CreateOptions {
  readonly name: string;
  readonly scope: readonly string[];
  readonly user?: readonly string[];
  readonly expires?: string;
  readonly ratePerMinute?: string;
}

const YEAR_MS = 366 * 86_400_000;

function refuse(message: string): never {
  throw new SockscopeError('keys_command', message);
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Makes a key and returns it: it is known nowhere else. */
export async function createKey(
  clickhouse: ClickHouse,
  options: CreateOptions,
  nowMs: number,
): Promise<string> {
  const scopes = options.scope.filter(isScope);
  const unknown = options.scope.filter((scope) => !isScope(scope));
  if (unknown.length > 0) {
    refuse(`unknown scope ${unknown.join(', ')}; the scopes are: ${SCOPES.join(', ')}`);
  }
  const { name, user: users = [] } = options;
  if (name === '' || name.length > KEY_LIMITS.name_chars) {
    refuse(`a name has 1 to ${KEY_LIMITS.name_chars} characters`);
  }
  if (users.includes('')) refuse('a user has at least one character');
  if (users.length > KEY_LIMITS.users_max) {
    refuse(`a key is tied to at most ${KEY_LIMITS.users_max} users`);
  }
  const lifetime = durationMs({ min: 60_000, max: 100 * YEAR_MS }).safeParse(options.expires);
  if (options.expires !== undefined && !lifetime.success) {
    refuse('--expires must be a duration of at least a minute, such as 90d');
  }
  const rate = z.coerce.number().int().min(1).max(KEY_LIMITS.rate_per_minute_max);
  const ratePerMinute = rate.safeParse(options.ratePerMinute);
  if (options.ratePerMinute !== undefined && !ratePerMinute.success) {
    refuse(`--rate-per-minute must be a whole number from 1 to ${KEY_LIMITS.rate_per_minute_max}`);
  }
  const { key } = await audited(
    clickhouse,
    { action: 'keys/create', details: { name, scopes, users }, nowMs },
    () =>
      insertKey(
        clickhouse,
        {
          name,
          scopes,
          users: users.length === 0 ? null : users,
          expiresAtMs: lifetime.success ? nowMs + lifetime.data : null,
          ratePerMinute: ratePerMinute.success ? ratePerMinute.data : null,
          createdBy: '',
        },
        nowMs,
      ),
  );
  return key;
}

/** Ends a key; services notice within KEY_REUSE_MS. */
export async function revokeKey(
  clickhouse: ClickHouse,
  keyId: string,
  nowMs: number,
): Promise<void> {
  const known = await findKey(clickhouse, keyId);
  if (known === null) return refuse(`there is no key ${JSON.stringify(keyId)}`);
  await audited(clickhouse, { action: 'keys/revoke', details: { key_id: keyId }, nowMs }, () =>
    endKey(clickhouse, known, nowMs),
  );
}

/** Runs a command and writes its entries in the audit log, as for requests. */
async function audited<T>(
  clickhouse: ClickHouse,
  { nowMs, ...what }: { readonly action: string; readonly details: object; readonly nowMs: number },
  work: () => Promise<T>,
): Promise<T> {
  const logger = createLogger('query', { level: 'warn' });
  return createAuditLog({ clickhouse, logger, now: Date.now }).around(
    {
      atMs: nowMs,
      principal: 'command',
      restrictedTo: null,
      remoteIp: '',
      format: '',
      ...what,
    },
    work,
  );
}

/** Hangs `keys create|list|revoke` on the service's command line. */
export function registerKeys(
  program: Command,
  config: () => { readonly clickhouse: ClickHouseConfig },
): void {
  const keys = program
    .command('keys')
    .description(
      'API keys; needs a ClickHouse user that may write the tables api_keys and export_audit',
    );

  async function withClickHouse(work: (clickhouse: ClickHouse) => Promise<void>): Promise<void> {
    const clickhouse = createClickHouse(config().clickhouse);
    try {
      await work(clickhouse);
    } finally {
      await clickhouse.close();
    }
  }

  keys
    .command('create')
    .description('create a key and print it; it cannot be shown again')
    .requiredOption('--name <name>', 'purpose of the key')
    .option(
      '--scope <scope>',
      `one of ${SCOPES.join(', ')}; may be repeated (default: read)`,
      (scope: string, before: string[]) => [...before, scope],
      [] as string[],
    )
    .option(
      '--user <user>',
      `only sessions of this user may be seen; may be repeated, ${KEY_LIMITS.users_max} times at most`,
      (user: string, before: string[]) => [...before, user],
      [] as string[],
    )
    .option('--rate-per-minute <n>', 'requests in a minute; default: QUERY_RATE_PER_MINUTE')
    .option('--expires <duration>', 'how long the key is valid, such as 90d; default: permanently')
    .action(async (options: CreateOptions) => {
      const scope = options.scope.length === 0 ? ['read'] : options.scope;
      await withClickHouse(async (clickhouse) => {
        write(await createKey(clickhouse, { ...options, scope }, Date.now()));
      });
    });
  keys
    .command('list')
    .description('list keys, without their secrets')
    .action(async () => {
      await withClickHouse(async (clickhouse) => {
        for (const key of await listKeys(clickhouse)) write(lineOf(key, Date.now()));
      });
    });
  keys
    .command('revoke')
    .description('revoke a key; it stops working within ten seconds')
    .argument('<key-id>', 'id from the list')
    .action(async (keyId: string) => {
      await withClickHouse(async (clickhouse) => {
        await revokeKey(clickhouse, keyId, Date.now());
      });
      write(`${keyId} is revoked; services refuse it within ten seconds`);
    });
}

/** JSON keeps names with tabs and line breaks on one line. */
function lineOf(key: ApiKeyRow, nowMs: number): string {
  const { key_hash: _hash, ...shown } = key;
  return JSON.stringify({ ...shown, state: keyState(key, nowMs) });
}
