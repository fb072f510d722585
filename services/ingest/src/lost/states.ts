/**
 * `state` in ingest_lost_sessions; the highest wins.
 * - `declared`: its rows show it as lost.
 * - `counted`: the hours of its end were marked for the rollups too.
 * - `overridden`: a real event came later, and the hour that it was counted in was marked; set by the
 *   rollups.
 */
export const LOST_STATE = { declared: 0, counted: 1, overridden: 2 } as const;
