import { sessionStartMs } from '@sockscope/schemas';
import { sessionsByIdQuery } from '../../sql/sessions.js';
import type { SessionRecord } from '../../sql/fields.js';
import { createBatches } from '../../store/batches.js';
import type { Batches } from '../../store/batches.js';
import type { Store } from '../../store/store.js';

/** Sessions by id, in lower case. */
export type SessionLookups = Batches<SessionRecord>;

/** Two, so that the second is on its way while the first is read. */
const RUNNING_MAX = 2;
/** A granule is read for each. */
const KEYS_MAX = 64;

export function createSessionLookups(deps: { readonly store: Store }): SessionLookups {
  return createBatches({ running_max: RUNNING_MAX, keys_max: KEYS_MAX }, async (ids, signal) => {
    const rows = await deps.store.ask(sessionsByIdQuery(ids, ids.map(sessionStartMs)), { signal });
    return new Map(rows.map((row) => [row.session_id, row]));
  });
}
