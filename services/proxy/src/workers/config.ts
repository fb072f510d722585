import { integer } from '@sockscope/runtime';
import { z } from 'zod';

export const workersConfig = z.object({
  count: integer({ min: 1, max: 128 }).default(1).meta({
    env: 'PROXY_WORKERS',
    description:
      'processes that share the listening port; each has its own proxy_id with the suffix -w1, -w2 …; all share the limits',
  }),
});
