/** Which values to suggest for the typed text. */
import { fieldOf } from './grammar.js';

/** Fields whose values the API suggests. */
const SUGGESTED: ReadonlySet<string> = new Set([
  'user',
  'dest_host',
  'dest_port',
  'source_ip',
  'proxy_id',
  'acl_rule_matched',
]);
/** The fields that a word without a field may mean. */
const OF_A_WORD = ['user', 'dest_host', 'source_ip'] as const;
/** The lookup for a term: fields, and the beginning of the value. */
export function suggestedFor(
  term: string,
  known: ReadonlySet<string>,
): { readonly fields: readonly string[]; readonly prefix: string } | null {
  const colon = term.indexOf(':');
  if (colon < 0) return term === '' ? null : { fields: OF_A_WORD, prefix: term };
  const field = fieldOf(term.slice(0, colon), known);
  if (field === null || !SUGGESTED.has(field)) return null;
  return { fields: [field], prefix: term.slice(colon + 1).replaceAll('"', '') };
}
