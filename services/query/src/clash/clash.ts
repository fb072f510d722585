import {
  clashConfigs,
  clashConnections,
  clashQuery,
  clashVersion,
  noParams,
  noQuery,
} from '@sockscope/schemas/api';
import type { FastifyInstance } from 'fastify';
import { serve } from '../http/question.js';
import type { QuestionDeps } from '../http/question.js';
import type { Store } from '../store/store.js';
import { openConnections, shownConnections } from './connections.js';

/** Serves dashboards made for mihomo (Clash), under `/clash`. They cannot change anything. */
export function serveClash(
  app: FastifyInstance,
  deps: QuestionDeps & {
    readonly store: Store;
    readonly version: string;
  },
): void {
  const common = {
    tag: 'clash',
    scope: 'read',
    audience: 'everyone',
    weight: 'light',
    params: noParams,
  } as const;
  serve(app, deps, {
    ...common,
    path: '/connections',
    operationId: 'clashConnections',
    summary: "Open sessions in mihomo's format; also by WebSocket",
    query: clashQuery,
    answer: clashConnections,
    ask: (_input, context) => openConnections(deps.store, context.onlyUsers, context),
    present: shownConnections,
  });
  serve(app, deps, {
    ...common,
    path: '/version',
    operationId: 'clashVersion',
    summary: 'The first request of dashboards for mihomo',
    query: noQuery,
    answer: clashVersion,
    ask: async () => null,
    present: () => ({ meta: true, version: `sockscope ${deps.version}` }),
  });
  serve(app, deps, {
    ...common,
    path: '/configs',
    operationId: 'clashConfigs',
    summary: 'The request by which dashboards for mihomo test the connection',
    query: noQuery,
    answer: clashConfigs,
    ask: async () => null,
    present: () => ({
      port: 0,
      'socks-port': 0,
      'redir-port': 0,
      'tproxy-port': 0,
      'mixed-port': 0,
      'allow-lan': false,
      mode: 'rule' as const,
      'log-level': 'silent' as const,
      ipv6: true,
    }),
  });
}
