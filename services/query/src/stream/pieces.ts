import type { Mask } from '../mask/mask.js';
import { presenterOf } from '../mask/presenter.js';
import { FRAMES_AT_ONCE } from './config.js';
import { frame, positionText } from './event.js';
import type { LiveEvent } from './event.js';

/** The part of the stream that a client wants. Equal names are equal views: they share their frames. */
export interface StreamView {
  readonly name: string;
  readonly mask: Mask;
  passes(event: LiveEvent): boolean;
}

/** Texts that were made of one list of events. */
interface Made {
  readonly frames: Map<Mask, Map<LiveEvent, string>>;
  /** Pieces by the name of the view. */
  readonly pieces: Map<string, readonly Buffer[]>;
}

/** The frames of the events that pass, as they are sent, in pieces of a few hundred. */
export type PiecesOf = (events: readonly LiveEvent[], view: StreamView) => readonly Buffer[];

/**
 * Makes each frame once for all clients with the same mask, and each piece once for all with the same view: the hub
 * gives the same list of events to all of them. What was made is forgotten with the list.
 *
 * @param hub names the process in positions.
 */
export function createPieces(hub: string): PiecesOf {
  const made = new WeakMap<readonly LiveEvent[], Made>();

  function frameOf(event: LiveEvent, mask: Mask, frames: Map<LiveEvent, string>): string {
    const known = frames.get(event);
    if (known !== undefined) return known;
    const session = presenterOf(mask).session(event.session);
    const text = frame(event.type, session, positionText(event, hub));
    frames.set(event, text);
    return text;
  }

  return (events, view) => {
    const shared: Made = made.get(events) ?? { frames: new Map(), pieces: new Map() };
    made.set(events, shared);
    const known = shared.pieces.get(view.name);
    if (known !== undefined) return known;
    const frames = shared.frames.get(view.mask) ?? new Map<LiveEvent, string>();
    shared.frames.set(view.mask, frames);
    const passing = events.filter((event) => view.passes(event));
    const pieces: Buffer[] = [];
    for (let i = 0; i < passing.length; i += FRAMES_AT_ONCE) {
      const some = passing.slice(i, i + FRAMES_AT_ONCE);
      pieces.push(Buffer.from(some.map((event) => frameOf(event, view.mask, frames)).join('')));
    }
    shared.pieces.set(view.name, pieces);
    return pieces;
  };
}
