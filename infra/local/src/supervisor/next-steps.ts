import { formatListenAddress } from '@sockscope/runtime';
import type { RunningProduct } from './supervisor.js';

/** Returns the next steps after `npm start`. Each command can be pasted as it is. */
export function nextSteps(
  { proxy, api }: Pick<RunningProduct, 'proxy' | 'api'>,
  env: NodeJS.ProcessEnv,
): string[] {
  const socks = formatListenAddress(proxy);
  const usersFile = env['PROXY_USERS_FILE'] ?? '';
  const newUsersFile = `${env['LOCAL_DATA_DIR'] || '.local'}/users.yaml`;
  const login = usersFile === '' ? '' : '--proxy-user alice:PASSWORD ';
  const addUser = 'node services/proxy/dist/main.js users add alice --file';
  return [
    `Dashboard:        http://${api}/`,
    `Use the proxy:    curl ${login}--socks5-hostname ${socks} http://example.org/ -o /dev/null`,
    `See the session:  curl -s 'http://${api}/api/v1/sessions?limit=1'`,
    `Add a user:       ${addUser} ${usersFile || newUsersFile}`,
    ...(usersFile === ''
      ? [`                  then stop, and start with PROXY_USERS_FILE=${newUsersFile} npm start`]
      : []),
    'Stop:             Ctrl-C',
  ];
}
