import { clickhouseConfig, createClickHouse } from '@sockscope/runtime/clickhouse';
import { createTestApp } from './app.js';

/** Returns the OpenAPI document. No database is needed. */
export async function openApiDocument(): Promise<object> {
  const clickhouse = createClickHouse(
    clickhouseConfig.parse({
      url: 'http://127.0.0.1:1',
      user: 'default',
      password: '',
      database: 'sockscope',
      timeout_ms: 1_000,
      connections_max: 1,
      ca_file: '',
    }),
  );
  const api = await createTestApp(clickhouse, { now: Date.now });
  await api.app.ready();
  const document = api.app.swagger();
  await api.close();
  await clickhouse.close();
  return document;
}
