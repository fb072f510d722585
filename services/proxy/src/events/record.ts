/** An event as a record in Kafka: see `cloudEventHeaders` in the contract. */
import { EVENT_LIMITS, SCHEMA_VERSION, SESSION_EVENT_TYPES } from '@sockscope/schemas';
import { murmur2, withLength } from '@sockscope/runtime/kafka';
import type { RecordFormat } from '@sockscope/runtime/kafka';
import type { Frame } from './frame.js';
import { copy, ID_LENGTH, putEvent, putNumber, putTime, TIME_LENGTH } from './json.js';

/** Encodes a length below 64 in one byte. */
const lengthByte = (length: number): number => length << 1;
const HEADERS = 7;
const SLASH = 0x2f;

/** Beginning of a record for each kind of event: number of headers, the first ones, and the name of `ce_id`. */
const FIRST_HEADERS: readonly Buffer[] = SESSION_EVENT_TYPES.map((type) =>
  Buffer.concat([
    Buffer.of(lengthByte(HEADERS)),
    withLength('content-type'),
    withLength('application/json'),
    withLength('ce_specversion'),
    withLength('1.0'),
    withLength('ce_type'),
    withLength(`sockscope.${type}.v${SCHEMA_VERSION}`),
    withLength('ce_id'),
  ]),
);
const SUBJECT_HEADER = Buffer.concat([withLength('ce_subject'), Buffer.of(lengthByte(ID_LENGTH))]);
/** More than all headers and the key take, without the source. */
const AROUND_MAX_BYTES = 1_024;

/** Writes records of one proxy from frames. */
export function createEventRecordFormat(proxyId: string): RecordFormat<Frame> {
  /** `ce_source`, and the beginning of `ce_time` behind it. */
  const sourceAndTime = Buffer.concat([
    withLength('ce_source'),
    withLength(`/sockscope/proxies/${encodeURIComponent(proxyId)}`),
    withLength('ce_time'),
    Buffer.of(lengthByte(TIME_LENGTH)),
  ]);
  const roomBytes = EVENT_LIMITS.event_bytes + sourceAndTime.length + AROUND_MAX_BYTES;

  return {
    keyHash: ({ buffer, idAt }) => murmur2(buffer, idAt, idAt + ID_LENGTH),
    write(frame, writer) {
      const { buffer: source, kind, seq, idAt } = frame;
      const idEnd = idAt + ID_LENGTH;
      writer.room(roomBytes);
      const { buffer } = writer;
      buffer[writer.at] = lengthByte(ID_LENGTH);
      writer.at = copy(source, idAt, idEnd, buffer, writer.at + 1);
      const eventAt = writer.begin();
      writer.at = putEvent(buffer, eventAt, frame);
      writer.finish(eventAt);
      let { at } = writer;
      const headers = FIRST_HEADERS[kind] as Buffer;
      buffer.set(headers, at);
      at += headers.length;
      const nameAt = at + 1;
      at = copy(source, idAt, idEnd, buffer, nameAt);
      buffer[at] = SLASH;
      at = putNumber(buffer, at + 1, seq);
      buffer[nameAt - 1] = lengthByte(at - nameAt);
      buffer.set(sourceAndTime, at);
      at = putTime(buffer, at + sourceAndTime.length, frame.occurredAtMs);
      at = copy(SUBJECT_HEADER, 0, SUBJECT_HEADER.length, buffer, at);
      writer.at = copy(source, idAt, idEnd, buffer, at);
    },
  };
}
