import { fileURLToPath } from 'node:url';
import { nextSteps } from './supervisor/next-steps.js';
import { createReporter } from './supervisor/report.js';
import { runInTerminal } from './supervisor/run.js';

const HELP = `Runs Kafka, ClickHouse, the proxy, ingest and the API with its dashboard on this machine.

  npm start
  PROXY_LISTEN=127.0.0.1:1081 QUERY_LISTEN=127.0.0.1:8081 npm start     # on other ports
  KAFKA_BROKERS=kafka-1:9092 CLICKHOUSE_URL=http://clickhouse:8123 npm start

Settings come from the environment; docs/reference/configuration.md lists them. Data and logs are in
.local (LOCAL_DATA_DIR). Ctrl-C stops everything.`;

await runInTerminal({
  help: HELP,
  root: fileURLToPath(new URL('../../..', import.meta.url)),
  env: process.env,
  report: createReporter({ out: console.log, err: console.error }),
  nextSteps: (product) => nextSteps(product, process.env),
});
