/**
 * Plays back the past: frames come in pieces from the server, and the next piece is asked for before
 * the last frame of this one is shown. Times are milliseconds since 1970.
 */
import type { Schemas } from '@sockscope/client';
import { signal } from '@preact/signals';
import type { ReadonlySignal } from '@preact/signals';
import { Problem } from '../../api/problem.js';
import type { SessionRow } from '../../widgets/session-table.js';

export type Piece = Schemas['Playback'];

/** How much faster than life. A frame is shown for a second. */
export const SPEEDS = [10, 60] as const;
export type Speed = (typeof SPEEDS)[number];

export interface Frame {
  readonly atMs: number;
  readonly open: number;
  readonly sentRate: number;
  readonly receivedRate: number;
  readonly rows: readonly SessionRow[];
}

const FRAME_MS = 1_000;
const RETRY_MS = 5_000;
/** Frames of a piece: a minute. */
const PIECE_FRAMES = 60;
/** Frames before the end of a piece at which the next one is requested. */
const AHEAD_FRAMES = 20;

/** The frames of a piece with the sessions that they name. */
export function framesOf({ frames, sessions }: Piece): Frame[] {
  const byId = new Map(sessions.map((session) => [session.session_id, session]));
  return frames.map((frame) => ({
    atMs: Date.parse(frame.at),
    open: frame.open,
    sentRate: frame.bytes_sent_per_second,
    receivedRate: frame.bytes_received_per_second,
    rows: frame.items.flatMap(({ session_id, ...rates }): SessionRow[] => {
      const session = byId.get(session_id);
      return session === undefined ? [] : [{ ...session, ...rates }];
    }),
  }));
}

export interface Player {
  readonly frame: ReadonlySignal<Frame | null>;
  readonly speed: ReadonlySignal<Speed | null>;
  readonly problem: ReadonlySignal<Problem | null>;
  play(fromMs: number, speed: Speed): void;
  /** Stops, and returns the time that is shown. */
  pause(): number | null;
}

/**
 * @param load asks for the frames of a range; the step is in seconds.
 * @param onPresent is called when the present is reached.
 */
export function createPlayer(deps: {
  load(fromMs: number, toMs: number, stepSeconds: number, signal: AbortSignal): Promise<Piece>;
  onPresent(): void;
  now(): number;
}): Player {
  const frame = signal<Frame | null>(null);
  const speed = signal<Speed | null>(null);
  const problem = signal<Problem | null>(null);
  let queue: Frame[] = [];
  let nextMs = 0;
  let isLoading = false;
  let controller = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;

  async function fill(): Promise<void> {
    const by = speed.peek();
    if (by === null || isLoading || queue.length > AHEAD_FRAMES || nextMs >= deps.now()) return;
    isLoading = true;
    const { signal: own } = controller;
    const fromMs = nextMs;
    const toMs = Math.min(deps.now(), fromMs + PIECE_FRAMES * by * 1_000);
    try {
      const piece = await deps.load(fromMs, toMs, by, own);
      if (own.aborted) return;
      queue.push(...framesOf(piece));
      nextMs = toMs;
      problem.value = null;
    } catch (error) {
      if (own.aborted) return;
      const failed = Problem.of(error);
      problem.value = failed;
      // A busy server is left alone for a while; the frames that are there are shown meanwhile.
      retry = setTimeout(() => {
        isLoading = false;
      }, failed.retryAfterMs ?? RETRY_MS);
      return;
    }
    isLoading = false;
  }

  function tick(): void {
    const next = queue.shift();
    if (next !== undefined) frame.value = next;
    else if (nextMs >= deps.now() - FRAME_MS && !isLoading) {
      stop();
      frame.value = null;
      deps.onPresent();
      return;
    }
    void fill();
    timer = setTimeout(tick, FRAME_MS);
  }

  function stop(): void {
    clearTimeout(timer);
    clearTimeout(retry);
    controller.abort();
    isLoading = false;
    queue = [];
    speed.value = null;
  }

  return {
    frame,
    speed,
    problem,
    play(fromMs, by) {
      stop();
      controller = new AbortController();
      nextMs = Math.min(fromMs, deps.now());
      speed.value = by;
      problem.value = null;
      void fill().then(() => {
        if (speed.peek() === by) tick();
      });
    },
    pause() {
      stop();
      const atMs = frame.peek()?.atMs ?? null;
      frame.value = null;
      return atMs;
    },
  };
}
