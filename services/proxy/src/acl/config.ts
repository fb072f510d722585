import { durationMs, textList } from '@sockscope/runtime';
import { z } from 'zod';
import { parseOwnEndpoint } from './own-endpoints.js';

export const aclConfig = z.object({
  file: z.string().default('').meta({
    env: 'PROXY_ACL_FILE',
    description:
      'YAML file with the access rules; without it, everything is allowed except protected addresses',
  }),
  reload_interval_ms: durationMs({ max: 3_600_000 }).default(1_000).meta({
    env: 'PROXY_ACL_RELOAD_INTERVAL',
    description: 'how often to check the file for changes; 0 reloads on SIGHUP only',
  }),
  own_endpoints: textList({ max: 256 })
    .refine(
      (texts) => texts.every((text) => parseOwnEndpoint(text) !== null),
      'must be addresses such as kafka-1:9092, 127.0.0.1:8080, [::1]:8080 or a URL',
    )
    .default([])
    .meta({
      env: 'PROXY_OWN_ENDPOINTS',
      description:
        'more addresses of Sockscope that clients must not reach through the proxy, besides its listeners, Kafka and ClickHouse',
    }),
});

export type AclConfig = z.infer<typeof aclConfig>;
