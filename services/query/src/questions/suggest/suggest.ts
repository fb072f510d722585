import { suggestions, suggestParams, suggestQuery } from '@sockscope/schemas/api';
import type { SuggestField } from '@sockscope/schemas/api';
import { DIMENSIONS, keyColumn } from '@sockscope/schemas/sums';
import type { Dimension } from '@sockscope/schemas/sums';
import type { FastifyInstance } from 'fastify';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import type { Mask } from '../../mask/mask.js';
import { suggestOfUsersQuery, suggestQuery as valuesQuery } from '../../sql/suggest.js';
import type { Store } from '../../store/store.js';

/** Days of sums that values are suggested from. */
const DAYS = 7;
/** Sessions of the users that a key is tied to: the newest. */
const SESSIONS_MAX = 20_000;

/** `GET /suggest/{field}`: values as one types. */
export function serveSuggestions(
  app: FastifyInstance,
  deps: QuestionDeps & { readonly store: Store },
): void {
  const { store } = deps;
  serve(app, deps, {
    path: '/suggest/:field',
    operationId: 'suggest',
    summary: 'Values of a field with this prefix, most frequent first',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    weight: 'light',
    params: suggestParams,
    query: suggestQuery,
    answer: suggestions,
    async ask({ params, query }, context) {
      // Prefixes of a masked field would reveal its values.
      if (isMasked(params.field, context.mask)) return [];
      const of = { ...query, dimension: dimensionOf(params.field) };
      return store.ask(
        context.onlyUsers === null
          ? valuesQuery(of, DAYS)
          : suggestOfUsersQuery(of, context.onlyUsers, SESSIONS_MAX),
        context,
      );
    },
    present: (rows, presenter, { params }) => ({
      items: rows.map(({ value, sessions }) => ({
        value: String(presenter.key(params.field, value) ?? ''),
        sessions,
      })),
      days: DAYS,
    }),
  });
}

function isMasked(field: SuggestField, mask: Mask): boolean {
  if (field === 'user') return mask.users !== 'none';
  return field === 'source_ip' && mask.addresses !== 'none';
}

function dimensionOf(field: SuggestField): Dimension {
  const found = DIMENSIONS.find((each) => keyColumn(each) === field);
  if (found === undefined) throw new TypeError(`${field} has no sums`);
  return found;
}
