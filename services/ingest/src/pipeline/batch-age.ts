/**
 * When a batch that is not full is written. An insert has a price, however few rows it has: six tables
 * have a new part each, and every part is merged several times.
 *
 * - A batch is written at its age. If it is small by then, it is written at two and a half times that age.
 * - Writing takes at most half of the time. A database that is slow because many processes write to it
 *   gets larger batches from each of them, and fewer.
 */
import type { PipelineConfig } from './config.js';

/** A small batch waits for this many times the age. */
const SMALL_AGES = 2.5;
/** However slow the database is, a batch need not be older than this. */
const AGE_MAX_MS = 5_000;

export type BatchAgeConfig = Pick<PipelineConfig, 'batch_age_ms' | 'batch_small_events'>;

export class BatchAge {
  readonly #config: BatchAgeConfig;
  readonly #onDue: () => void;
  #timer: NodeJS.Timeout | null = null;
  #records = 0;
  #writeMs = 0;

  /** @param onDue may be called again and again for a batch that cannot be written yet. */
  constructor(config: BatchAgeConfig, onDue: () => void) {
    this.#config = config;
    this.#onDue = onDue;
  }

  /** Called for every growth of the batch; the first call begins its age. */
  grown(records: number): void {
    this.#records = records;
    if (this.#timer !== null) return;
    const ageMs = Math.max(this.#config.batch_age_ms, Math.min(2 * this.#writeMs, AGE_MAX_MS));
    this.#timer = setTimeout(() => {
      this.#onAge(ageMs);
    }, ageMs);
  }

  /** A new batch begins with the next growth. */
  reset(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** How long it took to write the batch before. */
  took(writeMs: number): void {
    this.#writeMs = writeMs;
  }

  #onAge(ageMs: number): void {
    const leftMs = this.#config.batch_age_ms * SMALL_AGES - ageMs;
    const isSmall = this.#records < this.#config.batch_small_events;
    if (isSmall && leftMs > 0) {
      this.#timer = setTimeout(() => {
        this.#end();
      }, leftMs);
    } else this.#end();
  }

  #end(): void {
    this.#timer = null;
    this.#onDue();
  }
}
