import { textList } from '@sockscope/runtime';
import { canonicalIp } from '@sockscope/schemas/net';
import { z } from 'zod';

/** Mappings of public addresses. */
const NAT_ENTRIES_MAX = 1_000;

/** Settings of lookups. */
export const lookupConfig = z.object({
  egress_nat: textList()
    .pipe(
      z
        .array(
          z.string().transform((entry, ctx) => {
            const [from = '', to = '', more] = entry.split('=').map((text) => text.trim());
            const [publicIp, localIp] = [canonicalIp(from), canonicalIp(to)];
            if (publicIp !== null && localIp !== null && more === undefined) {
              return { publicIp, localIp };
            }
            ctx.addIssue({
              code: 'custom',
              message: 'must be PUBLIC=LOCAL such as 203.0.113.7=10.0.0.5',
            });
            return z.NEVER;
          }),
        )
        .max(NAT_ENTRIES_MAX),
    )
    .default([])
    .meta({
      env: 'QUERY_EGRESS_NAT',
      description:
        'public and local addresses of proxies behind NAT: 203.0.113.7=10.0.0.5,203.0.113.7=10.0.0.6; lookups by a public address find sessions of the local ones',
    }),
});
export type LookupConfig = z.infer<typeof lookupConfig>;
