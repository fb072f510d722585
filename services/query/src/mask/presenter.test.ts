import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Question } from '../http/question.js';
import { asStored } from '../sql/stored.js';
import type { Stored } from '../sql/stored.js';
import { maskConfig } from './config.js';
import { createMask } from './mask.js';
import { presenterOf } from './presenter.js';

const mask = createMask(
  maskConfig.parse({ users: 'hmac', addresses: undefined, key: 'k'.repeat(32) }),
);

describe('a presenter that masks users', () => {
  it('orders rows with equal sort keys, and only these, by the shown text', () => {
    const items = [
      { bytes: 9, shown: 'z' },
      { bytes: 5, shown: 'c' },
      { bytes: 5, shown: 'a' },
      { bytes: 5, shown: 'b' },
      { bytes: 1, shown: 'a' },
    ];
    const ranked = presenterOf(mask).ranked(
      items,
      (one, other) => one.bytes === other.bytes,
      ({ shown }) => shown,
    );
    expect(ranked.map(({ bytes, shown }) => `${bytes}${shown}`)).toEqual([
      '9z',
      '5a',
      '5b',
      '5c',
      '1a',
    ]);
  });
});

const answer = z.object({ user: z.string() });
type Present = Question<z.ZodObject, z.ZodObject, typeof answer, { user: Stored }>['present'];

describe('a route that answers a stored user', () => {
  it('compiles only if it asks the presenter', () => {
    const shows: Present = ({ user }, presenter) => ({ user: presenter.user(user) });
    // @ts-expect-error: to the compiler a stored name is no text.
    const forgets: Present = (found) => found;
    const found = { user: asStored('alice') };
    const input = { params: {}, query: {} };
    expect(forgets(found, presenterOf(mask), input).user).toBe('alice');
    expect(shows(found, presenterOf(mask), input).user).toMatch(/^u_/);
  });
});
