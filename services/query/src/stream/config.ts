import { byteSize, durationMs, integer } from '@sockscope/runtime';
import { z } from 'zod';

export const streamConfig = z.object({
  clients_max: integer({ min: 0, max: 100_000 }).default(500).meta({
    env: 'QUERY_STREAM_CLIENTS_MAX',
    description: 'open live streams; more get 503',
  }),
  clients_per_key_max: integer({ min: 1, max: 100_000 }).default(50).meta({
    env: 'QUERY_STREAM_CLIENTS_PER_KEY_MAX',
    description:
      'open live streams of one key or token; more get 503. Not applied without authentication',
  }),
  buffer_max_bytes: byteSize({ min: 16_384 }).default(1_048_576).meta({
    env: 'QUERY_STREAM_BUFFER_MAX',
    description: 'unsent bytes of one stream; a slower client is disconnected and may resume',
  }),
  catch_up_max_ms: durationMs({ min: 500, max: 3_600_000 }).default(60_000).meta({
    env: 'QUERY_STREAM_CATCH_UP_MAX',
    description:
      'longest time in which a returning client takes what it missed, because others wait for its place; a slower one is disconnected and may resume',
  }),
  poll_interval_ms: durationMs({ min: 100, max: 60_000 }).default(1_000).meta({
    env: 'QUERY_STREAM_INTERVAL',
    description: 'how often ClickHouse is asked for new events, once for all streams',
  }),
  counters_interval_ms: durationMs({ min: 500, max: 600_000 }).default(5_000).meta({
    env: 'QUERY_STREAM_COUNTERS_INTERVAL',
    description: 'how often the counters are sent',
  }),
});

export type StreamConfig = z.infer<typeof streamConfig>;

/** An event that was older when it was stored is no news: an import, a rebuild, a demonstration. */
export const NEWS_MAX_MS = 300_000;
/**
 * Time without events after which an open session leaves the live view; proxies report every 30 s.
 */
export const UNHEARD_MAX_MS = 300_000;
/** Sessions that the live view keeps in memory, about 1 KiB each; beyond it its frames are marked as truncated. */
export const LIVE_SESSIONS_MAX = 200_000;
/** Intervals between frames of the live view; the longer ones apply when making frames takes too long. */
export const FRAME_INTERVALS_MS = [1_000, 2_000, 5_000] as const;

/** Events of one poll. If more were stored, the next poll follows at once. */
export const POLL_ROWS_MAX = 5_000;
/** How far the polls may fall behind before events are left out, with a notice. */
export const LAG_MAX_MS = 30_000;
/** An insert may become visible this much after the time it is stamped with. */
export const OVERLAP_MS = 3_000;
/** Events kept, or looked up, for reconnecting clients; clients that missed more get a `gap`. */
export const REPLAY_MAX = 20_000;
/** Events that are known to have been sent; more than any overlap holds. */
export const SEEN_MAX = 200_000;
/** Older events are not looked up for reconnecting clients. */
export const RESUME_MAX_MS = 600_000;
/** Streams that get their missed events at the same time; the others wait. */
export const RESUMES_MAX = 4;
export const RESUME_WAIT_MAX_MS = 20_000;
/** Missed frames to write before checking whether the client keeps up, and the time for it. */
export const FRAMES_AT_ONCE = 500;
export const DRAIN_MAX_MS = 10_000;
/** Frames that wait for a returning client, missed and new ones together; beyond it, the client is too slow. */
export const BEHIND_MAX_BYTES = 64 * 1_048_576;
export const PING_INTERVAL_MS = 15_000;
/** How often it is checked that a key or token is still good. */
export const RECHECK_INTERVAL_MS = 5_000;
