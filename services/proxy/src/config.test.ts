import { loadConfig } from '@sockscope/runtime';
import { describe, expect, it } from 'vitest';
import { authPolicyOf, ownEndpointsOf, proxyConfig, warningsOf } from './config.js';

const load = (env: Record<string, string>) => loadConfig(proxyConfig, env);

describe('the configuration of the proxy', () => {
  it('has a default for everything, and listens on loopback only', () => {
    const config = load({});
    expect(config.listener.listen).toEqual({ host: '127.0.0.1', port: 1080 });
    expect(config.bind.enabled).toBe(false);
    expect(config.udp.enabled).toBe(false);
    expect(authPolicyOf(config)).toBe('none');
  });

  it.each(['0.0.0.0:1080', '[::]:1080', '192.0.2.1:1080'])(
    'ends the start on %s without a password and without an ACL',
    (listen) => {
      expect(() => load({ PROXY_LISTEN: listen })).toThrow(/PROXY_USERS_FILE or PROXY_ACL_FILE/);
    },
  );

  it.each([
    ['an ACL', { PROXY_ACL_FILE: 'acl.yaml' }],
    ['users', { PROXY_USERS_FILE: 'users.yaml' }],
    ['the wish for an open proxy', { PROXY_ALLOW_OPEN: 'true' }],
  ])('starts on all addresses with %s', (_, env: Record<string, string>) => {
    expect(load({ PROXY_LISTEN: '0.0.0.0:1080', ...env }).listener.listen.host).toBe('0.0.0.0');
  });

  it('does not take an optional password for a guard', () => {
    const env = {
      PROXY_LISTEN: '0.0.0.0:1080',
      PROXY_USERS_FILE: 'users.yaml',
      PROXY_AUTH: 'optional',
    };
    expect(() => load(env)).toThrow(/reachable from other machines/);
  });

  it.each(['password', 'optional'])('PROXY_AUTH=%s needs a users file', (auth) => {
    expect(() => load({ PROXY_AUTH: auth })).toThrow(/PROXY_USERS_FILE/);
  });

  it('requires passwords if there are users, unless configured otherwise', () => {
    const users = { PROXY_USERS_FILE: 'users.yaml' };
    expect(authPolicyOf(load(users))).toBe('password');
    expect(authPolicyOf(load({ ...users, PROXY_AUTH: 'none' }))).toBe('none');
    expect(authPolicyOf(load({ ...users, PROXY_AUTH: 'optional' }))).toBe('optional');
  });

  it('takes PROXY protocol headers from everybody only on loopback, unless configured otherwise', () => {
    const env = { PROXY_PROXY_PROTOCOL: 'true', PROXY_ALLOW_OPEN: 'true' };
    const open = { ...env, PROXY_LISTEN: '0.0.0.0:1080' };
    expect(() => load(env)).not.toThrow();
    expect(() => load(open)).toThrow(/PROXY_PROXY_PROTOCOL_FROM_ANY/);
    expect(() => load({ ...open, PROXY_PROXY_PROTOCOL_FROM: '10.0.0.0/8' })).not.toThrow();
    expect(() => load({ ...open, PROXY_PROXY_PROTOCOL_FROM_ANY: 'true' })).not.toThrow();
  });

  it('warns of passwords in clear if clients come from other machines', () => {
    const users = { PROXY_USERS_FILE: 'users.yaml' };
    expect(warningsOf(load(users))).toEqual([]);
    expect(warningsOf(load({ ...users, PROXY_LISTEN: '0.0.0.0:1080' }))).toEqual([
      expect.stringContaining('RFC 1929'),
    ]);
  });

  it('knows the endpoints of the whole product from their own settings', () => {
    const env = {
      CLICKHOUSE_URL: 'https://clickhouse.example:8443',
      CLICKHOUSE_FAILOVER_URLS: 'https://clickhouse-2.example:8443',
      QUERY_LISTEN: '127.0.0.1:18080',
      QUERY_OPS_LISTEN: '127.0.0.1:19103',
      INGEST_OPS_LISTEN: '127.0.0.1:19102',
      KAFKA_BROKERS: 'kafka.example:9092',
    };
    expect(ownEndpointsOf(load(env))).toEqual(expect.arrayContaining(Object.values(env)));
  });

  it('names every wrong setting at once', () => {
    const env = {
      PROXY_LISTEN: 'everywhere',
      PROXY_BIND_PORTS: '9-1',
      PROXY_PROXY_PROTOCOL_FROM: '10.0.0.1/8',
      PROXY_UDP_ADVERTISED_IP: 'me',
    };
    for (const name of Object.keys(env)) expect(() => load(env)).toThrow(new RegExp(name));
  });
});
