import { z } from 'zod';
import { counter } from '../events/counters.js';
import { clashConfigsExample, clashConnectionsExample, clashVersionExample } from './examples.js';
import { wireTime } from '../events/values.js';
import { whole } from './values.js';

/** Parameters that such dashboards send along. */
export const clashQuery = z.strictObject({
  token: z
    .string()
    .max(8_192)
    .optional()
    .describe('WebSocket only: key or token, because a browser cannot set headers there'),
  interval: whole(200, 60_000)
    .optional()
    .describe('WebSocket only: milliseconds between two messages; default 1000'),
});

export type ClashQuery = z.output<typeof clashQuery>;

/** The same by WebSocket; `level` and `format` are for lines of a log, of which there are none. */
export const clashSocketQuery = clashQuery.extend({
  level: z.string().max(32).optional(),
  format: z.string().max(32).optional(),
});

/**
 * Open sessions in the form of mihomo's (Clash's) `GET /connections`, for the dashboards made for
 * it. The names are theirs, not ours.
 */
export const clashConnections = z
  .object({
    downloadTotal: counter.describe('bytes received by the open sessions'),
    uploadTotal: counter.describe('bytes sent by the open sessions'),
    memory: counter.describe('resident memory of the query service, bytes'),
    connections: z.array(
      z.object({
        id: z.string(),
        upload: counter,
        download: counter,
        start: wireTime,
        chains: z.array(z.string()).describe('the proxy that serves the session'),
        rule: z.string(),
        rulePayload: z.string(),
        metadata: z.object({
          network: z.enum(['tcp', 'udp']),
          type: z.literal('Socks5'),
          sourceIP: z.string(),
          sourcePort: z.string(),
          destinationIP: z.string(),
          destinationPort: z.string(),
          host: z.string(),
          inboundUser: z.string(),
          inboundName: z.string(),
          inboundIP: z.string(),
          inboundPort: z.string(),
          dnsMode: z.literal('normal'),
          process: z.string(),
          processPath: z.string(),
          remoteDestination: z.string(),
          specialProxy: z.string(),
          specialRules: z.string(),
          sniffHost: z.string(),
          sourceGeoIP: z.null(),
          destinationGeoIP: z.null(),
          sourceIPASN: z.string(),
          destinationIPASN: z.string(),
          uid: z.int(),
          dscp: z.int(),
        }),
      }),
    ),
  })
  .meta({ id: 'ClashConnections', examples: [clashConnectionsExample] });
export type ClashConnections = z.infer<typeof clashConnections>;

export const clashVersion = z
  .object({ meta: z.boolean(), version: z.string() })
  .meta({ id: 'ClashVersion', examples: [clashVersionExample] });

/** A part of mihomo's `GET /configs`. Ports are 0, because this service does not know the proxies' own. */
export const clashConfigs = z
  .object({
    port: z.int(),
    'socks-port': z.int(),
    'redir-port': z.int(),
    'tproxy-port': z.int(),
    'mixed-port': z.int(),
    'allow-lan': z.boolean(),
    mode: z.literal('rule'),
    'log-level': z.literal('silent'),
    ipv6: z.boolean(),
  })
  .meta({ id: 'ClashConfigs', examples: [clashConfigsExample] });
