import { z } from 'zod';
import { counter } from '../events/counters.js';
import { destinationProfileExample, userProfileExample } from './examples.js';
import { answerMeta, measures } from './measures.js';
import { wireTime } from '../events/values.js';
import { topDestination, topUser } from './top.js';
import { traffic } from './traffic.js';
import { API_LIMITS, checkRange, rangeParams, text, whole } from './values.js';

export const userParams = z.strictObject({ user: text });
export const destinationParams = z.strictObject({ dest_host: text });

export const profileQuery = z
  .strictObject({
    ...rangeParams,
    from: rangeParams.from.describe(
      'start of the range, included; default: 30 days before its end',
    ),
    limit: whole(1, API_LIMITS.top_max)
      .default(API_LIMITS.top_default)
      .describe('counterparts that are shown'),
  })
  .superRefine(checkRange);
export type ProfileQuery = z.infer<typeof profileQuery>;

const busyHour = z.object({
  hour: z.int().min(0).max(23).describe('on the clock of time_zone'),
  sessions: counter,
  bytes: counter,
});

const profile = {
  ...answerMeta,
  first_seen: wireTime.describe('start of the first session ever'),
  last_seen: wireTime.describe('when any of its sessions was last heard of'),
  active: counter.describe('sessions open now'),
  totals: z.object(measures).describe('of the range'),
  trend: traffic.pick({ interval: true, buckets: true, series: true }),
  busiest_hours: z.array(busyHour).describe('the range by hour of the day, 24 entries'),
};

export const userProfile = z
  .object({ user: z.string(), ...profile, destinations: z.array(topDestination) })
  .meta({ id: 'UserProfile', examples: [userProfileExample] });
export type UserProfile = z.infer<typeof userProfile>;

export const destinationProfile = z
  .object({ dest_host: z.string(), ...profile, users: z.array(topUser) })
  .meta({ id: 'DestinationProfile', examples: [destinationProfileExample] });
export type DestinationProfile = z.infer<typeof destinationProfile>;
