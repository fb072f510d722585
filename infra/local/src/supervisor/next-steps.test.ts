import { expect, test } from 'vitest';
import { nextSteps } from './next-steps.js';

const product = { proxy: { host: '127.0.0.1', port: 1081 }, api: '127.0.0.1:8081' };

test('the next steps name the addresses and the folder of this copy', () => {
  const text = nextSteps(product, { LOCAL_DATA_DIR: '.local-b' }).join('\n');
  expect(text).toContain('http://127.0.0.1:8081/');
  expect(text).toContain('curl --socks5-hostname 127.0.0.1:1081 http');
  expect(text).toContain('users add alice --file .local-b/users.yaml');
  expect(text).toContain('PROXY_USERS_FILE=.local-b/users.yaml npm start');
  expect(text).toContain('Ctrl-C');
});

test('if users must log in, the first request has a login and a new user needs no restart', () => {
  const text = nextSteps(product, { PROXY_USERS_FILE: 'users.yaml' }).join('\n');
  expect(text).toContain('curl --proxy-user alice:PASSWORD --socks5-hostname');
  expect(text).toContain('users add alice --file users.yaml');
  expect(text).not.toContain('npm start');
});
