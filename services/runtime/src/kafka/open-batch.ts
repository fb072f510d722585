import { BatchTooLargeError } from './codecs.js';
import { kafkaErrorOf } from './errors.js';
import type { KafkaError } from './errors.js';
import { openBatch } from './record-batch.js';
import type { RecordBatch, RecordCursor } from './record-batch.js';

/** A batch that can be read, or why not: an error instead of a rejection, because nobody may be waiting for it. */
export type Opened = RecordCursor | KafkaError;

export async function tryOpen(batch: RecordBatch, from: number, maxBytes: number): Promise<Opened> {
  try {
    return await openBatch(batch, from, maxBytes);
  } catch (cause) {
    return kafkaErrorOf(cause, 'record batch');
  }
}

/**
 * Opens a batch that may be opened already, or that found too little memory beside the batch before it: then
 * alone.
 */
export async function openAhead(
  batch: RecordBatch,
  from: number,
  maxBytes: number,
  ahead: Promise<Opened> | null,
): Promise<Opened> {
  const opened = await ahead;
  const isToRepeat = opened === null || opened instanceof BatchTooLargeError;
  return isToRepeat ? tryOpen(batch, from, maxBytes) : opened;
}
