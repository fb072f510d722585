import { lookup, lookupQuery, noParams } from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { serve } from '../../http/question.js';
import type { QuestionDeps } from '../../http/question.js';
import type { Presenter } from '../../mask/presenter.js';
import { findByAddress } from './find.js';
import type { FoundLookup, LookupDeps } from './find.js';

/** `GET /lookup`: finds the user that reached an address, or was behind an address of a proxy. */
export function serveLookup(app: FastifyInstance, deps: QuestionDeps & LookupDeps): void {
  serve(app, deps, {
    path: '/lookup',
    operationId: 'lookUp',
    summary: 'Sessions that reached an address, or used one of ours, at a time',
    tag: 'sessions',
    scope: 'read',
    audience: 'everyone',
    weight: ({ query }) => (query.time === undefined ? 'heavy' : 'light'),
    params: noParams,
    query: lookupQuery,
    answer: lookup,
    ask: ({ query }, context) => findByAddress(deps, query, context),
    present: shownLookup,
  });
}

export function shownLookup({ candidates, answer }: FoundLookup, presenter: Presenter) {
  return {
    ...answer,
    items: candidates.map(({ row, ...why }) => ({ ...presenter.session(row), ...why })),
  };
}
