import type { FastifyRequest } from 'fastify';
import { describe, expect, it } from 'vitest';
import { createCookies } from '../auth/cookie.js';
import { LOCAL } from '../auth/principal.js';
import { isServedHost, isStillAllowed, loopbackHosts } from './guard.js';
import { ProblemError } from '../problems/problem.js';

const request = { headers: {}, query: {}, ip: '192.0.2.1', principal: LOCAL };

const stillAllowed = (authenticate: () => Promise<typeof LOCAL>) =>
  isStillAllowed(
    { authenticator: { authenticate }, cookie: createCookies('').session },
    request as unknown as FastifyRequest,
  );

describe('the owner of a long answer', () => {
  it.each(['unauthenticated', 'too-many-requests'] as const)(
    'is not allowed any more if its key or token is wrong (%s)',
    async (code) => {
      await expect(
        stillAllowed(async () => Promise.reject(new ProblemError(code, 'no'))),
      ).resolves.toBe(false);
    },
  );

  it('is not judged if the answer is unknown', async () => {
    const error = new ProblemError('identity-unavailable', 'later');
    await expect(stillAllowed(async () => Promise.reject(error))).rejects.toBe(error);
  });

  it('stays if nothing has changed', async () => {
    await expect(stillAllowed(async () => LOCAL)).resolves.toBe(true);
  });
});

describe('a host name', () => {
  it.each([
    ['127.0.0.2', '127.0.0.2:8080', true],
    ['127.0.0.2', 'LocalHost:8080', true],
    ['127.0.0.1', '127.0.0.2:8080', false],
    ['::1', '[::1]:8080', true],
    ['127.0.0.1', 'evil.example', false],
    ['127.0.0.1', undefined, false],
  ])(
    'of a service without keys on %s that is asked as %s is served: %s',
    (listen, host, served) => {
      expect(isServedHost(loopbackHosts(listen), host)).toBe(served);
    },
  );

  it('is the same in capitals, in the setting and in the request', () => {
    expect(isServedHost(['Sockscope.Example.COM'], 'sockscope.example.com')).toBe(true);
    expect(isServedHost(['sockscope.example.com'], 'SOCKSCOPE.example.com:443')).toBe(true);
  });
});
