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
  /** Of its minutes, the part in which anything moves. */
  readonly busy: number;
}

const KB = 1_000;
const MB = 1_000_000;
const amount = (median: number, spread: number, max: number): Amount => ({ median, spread, max });

/** As the live traffic is, which two cores relay beside everything else. */
const USAGE: Readonly<Record<Kind, Usage>> = {
  web: {
    sent: amount(4 * KB, 0.8, 200 * KB),
    received: amount(120 * KB, 1.2, 5 * MB),
    durationMs: amount(4_000, 1, 50_000),
    busy: 1,
  },
  api: {
    sent: amount(2 * KB, 0.8, 100 * KB),
    received: amount(6 * KB, 1, 500 * KB),
    durationMs: amount(300, 0.8, 5_000),
    busy: 1,
  },
  download: {
    sent: amount(3 * KB, 0.5, 20 * KB),
    received: amount(6 * MB, 0.9, 50 * MB),
    durationMs: amount(20_000, 0.6, 90_000),
    busy: 1,
  },
  video: {
    sent: amount(60 * KB, 0.7, 500 * KB),
    received: amount(25 * MB, 0.7, 90 * MB),
    durationMs: amount(200_000, 0.5, 600_000),
    busy: 1,
  },
  chat: {
    sent: amount(30 * KB, 0.9, 500 * KB),
    received: amount(150 * KB, 0.9, 2 * MB),
    durationMs: amount(400_000, 0.8, 2_400_000),
    busy: 0.4,
  },
  shell: {
    sent: amount(25 * KB, 1, 1 * MB),
    received: amount(250 * KB, 1.1, 10 * MB),
    durationMs: amount(240_000, 0.9, 1_800_000),
    busy: 0.5,
  },
  mail: {
    sent: amount(20 * KB, 1.2, 4 * MB),
    received: amount(150 * KB, 1.2, 8 * MB),
    durationMs: amount(3_000, 0.8, 30_000),
    busy: 1,
  },
  upload: {
    sent: amount(8 * MB, 0.9, 50 * MB),
    received: amount(6 * KB, 0.5, 50 * KB),
    durationMs: amount(30_000, 0.6, 90_000),
    busy: 1,
  },
};

export interface Volume {
  readonly sent: number;
  readonly received: number;
  readonly durationMs: number;
  readonly busy: number;
}

/** What one connection of this kind moves, in bytes, and how long it takes. */
export function volumeOf(random: Random, kind: Kind): Volume {
  const { sent, received, durationMs, busy } = USAGE[kind];
  const draw = ({ median, spread, max }: Amount): number =>
    Math.round(around(random, median, spread, max));
  return { sent: draw(sent), received: draw(received), durationMs: draw(durationMs), busy };
}
