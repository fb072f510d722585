import type { SharedState } from './shared.js';
import { IntakeReader } from './spool/intake.js';
import { SpoolError } from './spool/log.js';

/** What comes is safe on disk already; this only adds to the age at which it is published. */
const LOOK_INTERVAL_MS = 25;
/** After a second without anything it sleeps until it is woken. */
const LOOKS_BEFORE_SLEEP = 40;
/** For so long a disk that does not give back what it took is asked again. */
const PATIENCE_MS = 5_000;

export interface IntakeConsumer {
  /** Bytes that the disk did not give back. */
  readonly lostBytes: number;
  /** Takes what is there now. */
  take(): void;
  /** Begins to look again. */
  wake(): void;
  stop(): void;
}

export interface IntakeConsumerDeps {
  readonly shared: SharedState;
  readonly accept: (chunks: readonly Buffer[]) => void;
  /** After each look that found something. */
  readonly onTaken: () => void;
  readonly onTrouble: (message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/** Looks into the intake now and again while something comes, and sleeps when nothing does. */
export function createIntakeConsumer(
  config: { readonly dir: string },
  deps: IntakeConsumerDeps,
): IntakeConsumer {
  const { shared } = deps;
  const reader = new IntakeReader(config.dir);
  let timer: NodeJS.Timeout | null = null;
  let emptyLooks = 0;
  let failingSinceMs: number | null = null;
  let lostBytes = 0;

  function take(): boolean {
    const { written } = shared;
    if (written === shared.taken) return false;
    try {
      reader.take(written, deps.accept);
      failingSinceMs = null;
    } catch (error) {
      if (!(error instanceof SpoolError)) throw error;
      failed(written, error);
    }
    shared.taken = reader.position;
    deps.onTaken();
    return true;
  }

  /** In the end what the disk does not give back is lost, and the rest goes on. */
  function failed(written: number, error: SpoolError): void {
    const nowMs = performance.now();
    if (failingSinceMs === null) {
      failingSinceMs = nowMs;
      deps.onTrouble('the intake cannot be read', { err: error.message });
    }
    if (nowMs - failingSinceMs < PATIENCE_MS) return;
    const lost = written - reader.position;
    lostBytes += lost;
    deps.onTrouble('a part of the intake is lost', { err: error.message, lost_bytes: lost });
    reader.skip(written);
    failingSinceMs = null;
  }

  function look(): void {
    timer = null;
    emptyLooks = take() ? 0 : emptyLooks + 1;
    if (emptyLooks >= LOOKS_BEFORE_SLEEP) {
      shared.fallAsleep();
      // Something may have come before the other side could know.
      if (shared.written === shared.taken || !shared.wake()) return;
      emptyLooks = 0;
    }
    timer = setTimeout(look, LOOK_INTERVAL_MS);
  }

  return {
    get lostBytes() {
      return lostBytes;
    },
    take,
    wake() {
      if (timer === null) look();
    },
    stop() {
      if (timer !== null) clearTimeout(timer);
      reader.close();
    },
  };
}
