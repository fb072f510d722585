import { z } from 'zod';
import { counter } from '../events/counters.js';
import { destinationProfileExample, userProfileExample } from './examples.js';
import { checkFilters, filterParams } from './filters.js';
import { answerMeta, figures, timeRange } from './measures.js';
import { wireTime } from '../events/values.js';
import { moment } from './moment.js';
import { topDestination, topUser } from './top.js';
import { traffic } from './traffic.js';
import { API_LIMITS, checkRange, rangeParams, text, whole } from './values.js';

export const userParams = z.strictObject({ user: text });
export const destinationParams = z.strictObject({ dest_host: text });

export const profileQuery = z
  .strictObject({
    ...rangeParams,
    from: moment
      .optional()
      .describe('start of the range, included; default: 30 days before its end'),
    ...filterParams,
    limit: whole(1, API_LIMITS.top_max)
      .default(API_LIMITS.top_default)
      .describe('number of counterparts to show'),
  })
  .superRefine(checkRange)
  .superRefine(checkFilters);
export type ProfileQuery = z.infer<typeof profileQuery>;

const busyHour = z.object({
  hour: z.int().min(0).max(23).describe('on the clock of time_zone'),
  sessions_started: counter,
  bytes: counter,
});

const profile = {
  ...answerMeta,
  first_seen: wireTime.describe('start of the first session ever'),
  last_seen: wireTime.describe('time of the latest event of its sessions'),
  sessions_open: counter.describe('open at the end of the range'),
  totals: z.object(figures).describe('figures of the whole range'),
  trend: traffic.pick({ interval: true, buckets: true, series: true }),
  busiest_hours: z
    .object({
      range: timeRange.describe(
        "the range that is counted: at most the last 92 days, or 7 if the zone's offset is not in whole hours",
      ),
      hours: z.array(busyHour).describe('24 entries'),
    })
    .describe('by hour of the day'),
};

export const userProfile = z
  .object({ user: z.string(), ...profile, destinations: z.array(topDestination) })
  .meta({ id: 'UserProfile', examples: [userProfileExample] });
export type UserProfile = z.infer<typeof userProfile>;

export const destinationProfile = z
  .object({ dest_host: z.string(), ...profile, users: z.array(topUser) })
  .meta({ id: 'DestinationProfile', examples: [destinationProfileExample] });
export type DestinationProfile = z.infer<typeof destinationProfile>;
