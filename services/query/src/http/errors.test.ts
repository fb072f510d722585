import type { Logger } from '@sockscope/runtime';
import { fastify } from 'fastify';
import { expect, it } from 'vitest';
import { ProblemError } from '../problems/problem.js';
import { handleErrors } from './errors.js';

it('a flood of refusals leaves one line of log a second and route, which counts the others', async () => {
  const lines: { readonly route: string; readonly held_back: number }[] = [];
  const error = (fields: (typeof lines)[number]) => lines.push(fields);
  const app = fastify();
  handleErrors(app, { error } as unknown as Logger);
  for (const path of ['/a', '/b']) {
    app.get(path, () => {
      throw new ProblemError('overloaded', 'busy', { retryAfterSeconds: 1 });
    });
  }
  const beganMs = performance.now();
  for (let n = 0; n < 100; n += 1) {
    expect((await app.inject({ url: n % 2 === 0 ? '/a' : '/b' })).statusCode).toBe(503);
  }
  const seconds = (performance.now() - beganMs) / 1_000;
  for (const route of ['/a', '/b']) {
    const own = lines.filter((line) => line.route === route);
    expect(own.length).toBeGreaterThan(0);
    expect(own.length).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
    expect(own[0]?.held_back).toBe(0);
  }
  await app.close();
});
