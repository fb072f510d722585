import { SockscopeError } from '@sockscope/runtime';
import type { Command } from '@sockscope/runtime';
import { createClickHouse } from '@sockscope/runtime/clickhouse';
import type { ClickHouse, ClickHouseConfig } from '@sockscope/runtime/clickhouse';
import { toTimestamp } from '@sockscope/schemas';
import { durationMs } from '@sockscope/runtime';
import { apiKeyQuery, apiKeysQuery } from '../sql/api-keys.js';
import type { ApiKeyRow } from '../sql/api-keys.js';
import { generateKey, hashKey } from './api-key.js';
import { isScope, SCOPES } from './principal.js';

interface CreateOptions {
  readonly name: string;
  readonly scope: readonly string[];
  readonly user?: string;
  readonly expires?: string;
}

const COLUMNS = [
  'key_id',
  'key_hash',
  'name',
  'scopes',
  'user',
  'created_at',
  'expires_at',
  'revoked_at',
  'version',
] as const;

const NAME_CHARS_MAX = 200;
const YEAR_MS = 366 * 86_400_000;

function refuse(message: string): never {
  throw new SockscopeError('keys_command', message);
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function store(clickhouse: ClickHouse, row: ApiKeyRow, version: number): Promise<void> {
  const cells = { ...row, version };
  await clickhouse.insert({
    table: 'api_keys',
    columns: COLUMNS,
    format: 'JSONCompactEachRow',
    bytes: [Buffer.from(`${JSON.stringify(COLUMNS.map((name) => cells[name]))}\n`)],
    settings: { date_time_input_format: 'best_effort' },
  });
}

/** Makes a key and gives it back: it is known nowhere else. */
export async function createKey(
  clickhouse: ClickHouse,
  options: CreateOptions,
  nowMs: number,
): Promise<string> {
  const scopes = [...new Set(options.scope)];
  const unknown = scopes.filter((scope) => !isScope(scope));
  if (unknown.length > 0) {
    refuse(`unknown scope ${unknown.join(', ')}; the scopes are: ${SCOPES.join(', ')}`);
  }
  if (options.name === '' || options.name.length > NAME_CHARS_MAX) {
    refuse(`a name has 1 to ${NAME_CHARS_MAX} characters`);
  }
  if (options.user === '') refuse('a user has at least one character');
  const lifetime = durationMs({ min: 60_000, max: 100 * YEAR_MS }).safeParse(options.expires);
  if (options.expires !== undefined && !lifetime.success) {
    refuse('--expires must be a duration of at least a minute, such as 90d');
  }
  const { key, keyId } = generateKey();
  const row: ApiKeyRow = {
    key_id: keyId,
    key_hash: hashKey(key),
    name: options.name,
    scopes,
    user: options.user ?? null,
    created_at: toTimestamp(nowMs),
    expires_at: lifetime.success ? toTimestamp(nowMs + lifetime.data) : null,
    revoked_at: null,
  };
  await store(clickhouse, row, nowMs);
  return key;
}

export async function listKeys(clickhouse: ClickHouse): Promise<ApiKeyRow[]> {
  const { sql, params, row } = apiKeysQuery();
  return clickhouse.query({ sql, params, row });
}

/** Ends a key; services notice within KEY_REUSE_MS. */
export async function revokeKey(
  clickhouse: ClickHouse,
  keyId: string,
  nowMs: number,
): Promise<void> {
  const { sql, params, row } = apiKeyQuery(keyId);
  const [known] = await clickhouse.query({ sql, params, row });
  if (known === undefined) return refuse(`there is no key ${JSON.stringify(keyId)}`);
  // Later than the row that it replaces, should a clock have been set back.
  const version = Math.max(nowMs, Date.parse(known.created_at) + 1);
  await store(
    clickhouse,
    { ...known, revoked_at: known.revoked_at ?? toTimestamp(nowMs) },
    version,
  );
}

/** Hangs `keys create|list|revoke` on the service's command line. */
export function registerKeys(
  program: Command,
  config: () => { readonly clickhouse: ClickHouseConfig },
): void {
  const keys = program
    .command('keys')
    .description('API keys; needs a ClickHouse user that may write the table api_keys');

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
    .requiredOption('--name <name>', 'what the key is for')
    .option(
      '--scope <scope>',
      `one of ${SCOPES.join(', ')}; may be repeated (default: read)`,
      (scope: string, before: string[]) => [...before, scope],
      [] as string[],
    )
    .option('--user <user>', 'the only user whose sessions the key may see')
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
    .description('end a key')
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
  const state =
    key.revoked_at !== null
      ? 'revoked'
      : key.expires_at !== null && Date.parse(key.expires_at) <= nowMs
        ? 'expired'
        : 'valid';
  const { key_hash: _hash, ...shown } = key;
  return JSON.stringify({ ...shown, state });
}
