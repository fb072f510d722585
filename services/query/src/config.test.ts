import { loadConfig } from '@sockscope/runtime';
import { describe, expect, it } from 'vitest';
import { queryConfig } from './config.js';

const load = (env: Record<string, string>) => loadConfig(queryConfig, env);

describe('the address to listen at', () => {
  it.each(['0.0.0.0:8080', '[::]:8080', '10.0.0.5:8080', '[2001:db8::1]:8080'])(
    '%s, beyond loopback, is refused without authentication',
    (address) => {
      expect(() => load({ QUERY_LISTEN: address })).toThrow(
        /QUERY_LISTEN.*is not a loopback address.*QUERY_AUTH/s,
      );
      expect(load({ QUERY_LISTEN: address, QUERY_AUTH: 'api_keys' }).auth.methods).toEqual([
        'api_keys',
      ]);
    },
  );

  it.each(['127.0.0.1:0', '127.1.2.3:80', '[::1]:8080', 'localhost:8080'])(
    '%s, on loopback, needs none',
    (address) => {
      expect(load({ QUERY_LISTEN: address }).auth.methods).toEqual([]);
    },
  );

  it('with tokens needs their issuer', () => {
    expect(() => load({ QUERY_LISTEN: '0.0.0.0:8080', QUERY_AUTH: 'jwt' })).toThrow(
      /QUERY_JWT_ISSUER.*QUERY_JWT_AUDIENCE/s,
    );
  });
});

describe('public addresses in front of proxies', () => {
  it('are mapped to the local ones', () => {
    const { egress_nat } = load({
      QUERY_EGRESS_NAT: '203.0.113.7=10.0.0.5,2001:DB8::7=fd00::5',
    }).lookup;
    expect(egress_nat).toEqual([
      { publicIp: '203.0.113.7', localIp: '10.0.0.5' },
      { publicIp: '2001:db8::7', localIp: 'fd00::5' },
    ]);
    expect(() => load({ QUERY_EGRESS_NAT: '203.0.113.7' })).toThrow(
      /QUERY_EGRESS_NAT.*PUBLIC=LOCAL/s,
    );
  });
});

describe('sign-in at an OpenID provider', () => {
  const whole = {
    QUERY_AUTH: 'oidc',
    QUERY_PUBLIC_URL: 'https://sockscope.example.com',
    QUERY_OIDC_ISSUER: 'https://idp.example.com',
    QUERY_OIDC_CLIENT_ID: 'sockscope',
    QUERY_OIDC_GRANTS: 'netops=admin, support=read+all_users',
  };

  it('maps values of a claim to rights', () => {
    expect(load(whole).auth.oidc_grants).toEqual([
      { value: 'netops', permissions: ['admin'] },
      { value: 'support', permissions: ['read', 'all_users'] },
    ]);
  });

  it.each([
    'QUERY_PUBLIC_URL',
    'QUERY_OIDC_ISSUER',
    'QUERY_OIDC_CLIENT_ID',
    'QUERY_OIDC_GRANTS',
  ] as const)('needs %s', (name) => {
    expect(() => load({ ...whole, [name]: '' })).toThrow(name);
  });

  it('takes an issuer without TLS on loopback only', () => {
    const of = (url: string) => () => load({ ...whole, QUERY_OIDC_ISSUER: url });
    for (const url of ['http://127.0.0.1:9000', 'http://[::1]/realm', 'http://localhost']) {
      expect(of(url)).not.toThrow();
    }
    for (const url of ['http://idp.example.com', 'http://127.example.com', 'http://10.0.0.5']) {
      expect(of(url)).toThrow(/QUERY_OIDC_ISSUER.*https/s);
    }
  });

  it.each(['netops', 'netops=', 'netops=root', '=admin', 'netops=admin+', 'a=read,b=write'])(
    'refuses the grant %s',
    (grants) => {
      expect(() => load({ ...whole, QUERY_OIDC_GRANTS: grants })).toThrow(/QUERY_OIDC_GRANTS/);
    },
  );
});

describe('origins', () => {
  it('are a scheme and a host, in any case, with a port unless it is the default', () => {
    const { origins } = load({
      QUERY_ORIGINS: 'https://Dashboard.example, http://127.0.0.1:9099,http://[::1]:80',
    }).http;
    expect(origins).toEqual([
      'https://dashboard.example',
      'http://127.0.0.1:9099',
      'http://[::1]:80',
    ]);
  });

  it.each(['*', 'null', 'dashboard.example', 'https://a.example/', 'https://*.example', 'ws://a'])(
    'refuses %s',
    (origin) => {
      expect(() => load({ QUERY_ORIGINS: origin })).toThrow(/QUERY_ORIGINS.*must be an origin/s);
    },
  );
});

describe('trusted proxies', () => {
  it('are addresses and blocks', () => {
    const trusted = ['127.0.0.1', '::1', '10.0.0.0/8', '2001:db8::/32'];
    const config = load({ QUERY_TRUSTED_PROXIES: trusted.join(',') });
    expect(config.http.trusted_proxies).toEqual(trusted);
  });

  it.each(['proxy.example', '10.0.0.0/33', 'true', '*'])('refuses %s', (proxy) => {
    expect(() => load({ QUERY_TRUSTED_PROXIES: proxy })).toThrow(
      /QUERY_TRUSTED_PROXIES.*must be an address or a block/s,
    );
  });
});
