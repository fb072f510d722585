import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';

/** Names as clients and operators may send them. */
const HOSTILE = [
  'plain',
  '"quoted"',
  'back\\slash',
  'new\nline\u0000\u001f',
  '</script>',
  'ünïcödé 日本 🧦',
  '\u2028\u2029',
  '","seq":99,"x":"',
];

/** Valid logs of several sessions whose texts need escaping in every way. */
export function hostileLogs(seed: number, sessions: number): SessionEvent[][] {
  const random = seededRandom(seed);
  const text = (): string => HOSTILE[Math.floor(random() * HOSTILE.length)] ?? '';
  return Array.from({ length: sessions }, (_, i) =>
    sessionLog({
      random,
      startMs: 1_790_000_000_000 + i * 997,
      user: text(),
      destHost: text(),
      proxyId: `proxy-${i % 3}.eu_1`,
    }).map((event) => ({ ...event, acl_rule_matched: random() < 0.5 ? null : text() })),
  );
}
