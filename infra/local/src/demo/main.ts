import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { formatListenAddress, messageOf } from '@sockscope/runtime';
import { createReporter } from '../supervisor/report.js';
import { answerArguments, EXIT, runInTerminal } from '../supervisor/run.js';
import { PASSWORD } from './cast.js';
import { createDemo } from './demo.js';
import { startNameServer } from './name-server.js';
import { demoEnvironment } from './settings.js';
import { prepareSite } from './site.js';

const HELP = `Runs the whole product with made-up traffic, in a data folder and on ports of its own.

  npm run demo
  QUERY_LISTEN=127.0.0.1:28080 npm run demo      # the dashboard on another port
  rm -r .local/demo                              # forgets everything; the next start begins again

It takes ports and LOCAL_DATA_DIR from the environment, as npm start does, and no other setting.`;

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const report = createReporter({ out: console.log, err: console.error });

async function main(): Promise<void> {
  answerArguments(HELP);
  const env = demoEnvironment(process.env);
  const dataDir = resolve(root, env['LOCAL_DATA_DIR'] ?? join('.local', 'demo'));
  const site = await prepareSite(dataDir, Date.now());
  const names = await startNameServer();
  const demo = createDemo(site, { report });
  await runInTerminal({
    help: HELP,
    root,
    report,
    env: { ...env, ...site.env, PROXY_DNS_SERVERS: names.address },
    nextSteps: ({ proxy, api }) => [
      `Dashboard:        http://${api}/`,
      `Join the traffic: curl --proxy-user ada:${PASSWORD} --socks5-hostname ${formatListenAddress(proxy)} http://www.news.example:${String(site.land.ports.http)}/`,
      `Forget it all:    rm -r ${env['LOCAL_DATA_DIR'] ?? ''}    (once it is stopped)`,
      'Stop:             Ctrl-C',
    ],
    company: demo,
  });
}

try {
  await main();
} catch (error) {
  report.problem(messageOf(error));
  process.exit(EXIT.config);
}
