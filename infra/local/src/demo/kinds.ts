import type { Kind } from './cast.js';
import { around, type Random } from './random.js';

interface Amount {
  readonly median: number;
  readonly spread: number;
  readonly max: number;
}

interface Usage {
  readonly sent: Amount;
  readonly received: Amount;
  readonly durationMs: Amount;
  /** The share of its minutes in which bytes move. */
  readonly busy: number;
}

const KB = 1_000;
const MB = 1_000_000;
type AmountRow = readonly [median: number, spread: number, max: number];

function usage(sent: AmountRow, received: AmountRow, durationMs: AmountRow, busy = 1): Usage {
  const amount = ([median, spread, max]: AmountRow): Amount => ({ median, spread, max });
  return { sent: amount(sent), received: amount(received), durationMs: amount(durationMs), busy };
}

/** Sizes of the live traffic, which two cores relay beside everything else. */
const USAGE: Readonly<Record<Kind, Usage>> = {
  web: usage([4 * KB, 0.8, 200 * KB], [120 * KB, 1.2, 5 * MB], [4_000, 1, 50_000]),
  api: usage([2 * KB, 0.8, 100 * KB], [6 * KB, 1, 500 * KB], [300, 0.8, 5_000]),
  download: usage([3 * KB, 0.5, 20 * KB], [6 * MB, 0.9, 50 * MB], [20_000, 0.6, 90_000]),
  video: usage([60 * KB, 0.7, 500 * KB], [25 * MB, 0.7, 90 * MB], [200_000, 0.5, 600_000]),
  chat: usage([30 * KB, 0.9, 500 * KB], [150 * KB, 0.9, 2 * MB], [400_000, 0.8, 2_400_000], 0.4),
  shell: usage([25 * KB, 1, 1 * MB], [250 * KB, 1.1, 10 * MB], [240_000, 0.9, 1_800_000], 0.5),
  mail: usage([20 * KB, 1.2, 4 * MB], [150 * KB, 1.2, 8 * MB], [3_000, 0.8, 30_000]),
  upload: usage([8 * MB, 0.9, 50 * MB], [6 * KB, 0.5, 50 * KB], [30_000, 0.6, 90_000]),
};

export interface Volume {
  readonly sent: number;
  readonly received: number;
  readonly durationMs: number;
  readonly busy: number;
}

/** Bytes and duration of one connection of this kind. */
export function volumeOf(random: Random, kind: Kind): Volume {
  const { sent, received, durationMs, busy } = USAGE[kind];
  const draw = ({ median, spread, max }: Amount): number =>
    Math.round(around(random, median, spread, max));
  return { sent: draw(sent), received: draw(received), durationMs: draw(durationMs), busy };
}
