import type { FastifyRequest } from 'fastify';
import { describe, expect, it } from 'vitest';
import { createCookies } from '../auth/cookie.js';
import { LOCAL } from '../auth/principal.js';
import { isStillAllowed } from './guard.js';
import { ProblemError } from '../problems/problem.js';

const request = { headers: {}, query: {}, ip: '192.0.2.1', principal: LOCAL };

const stillAllowed = (authenticate: () => Promise<typeof LOCAL>) =>
  isStillAllowed(
    { authenticator: { authenticate }, cookie: createCookies('').session },
    request as unknown as FastifyRequest,
  );

describe('the owner of a long answer', () => {
  it.each(['unauthenticated', 'too-many-requests'] as const)(
    'is not allowed any more where its key or token is wrong (%s)',
    async (code) => {
      await expect(
        stillAllowed(async () => Promise.reject(new ProblemError(code, 'no'))),
      ).resolves.toBe(false);
    },
  );

  it('is not judged where nobody can tell', async () => {
    const error = new ProblemError('identity-unavailable', 'later');
    await expect(stillAllowed(async () => Promise.reject(error))).rejects.toBe(error);
  });

  it('stays if nothing has changed', async () => {
    await expect(stillAllowed(async () => LOCAL)).resolves.toBe(true);
  });
});
