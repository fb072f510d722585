import { z } from 'zod';

/** Settings of evidence. */
export const evidenceConfig = z.object({
  key_file: z.string().default('').meta({
    env: 'QUERY_EVIDENCE_KEY_FILE',
    description:
      'file with the key that signs evidence, made by `evidence-key create`; read at the start; empty: evidence is not signed',
  }),
});
