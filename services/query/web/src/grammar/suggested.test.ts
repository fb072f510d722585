import { describe, expect, test } from 'vitest';
import { typedTerm } from './grammar.js';
import { suggestedFor } from './suggested.js';

const FIELDS = new Set(['user', 'dest_host', 'protocol']);

describe('suggestions while one types', () => {
  test('the last term decides: its field under any name, or all fields that a word may be of', () => {
    expect(suggestedFor(typedTerm('user:bob dest:ex').term, FIELDS)).toEqual({
      fields: ['dest_host'],
      prefix: 'ex',
    });
    expect(suggestedFor('ali', FIELDS)).toEqual({
      fields: ['user', 'dest_host', 'source_ip'],
      prefix: 'ali',
    });
  });

  test('nothing is asked for a field that has no suggestions, an unknown one, or no term', () => {
    for (const text of ['protocol:t', 'nosuch:x', '', 'user:bob ']) {
      expect(suggestedFor(typedTerm(text).term, FIELDS), text).toBeNull();
    }
  });
});
