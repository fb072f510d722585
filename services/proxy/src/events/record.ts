/** An event as a record in Kafka: see `cloudEventHeaders` in the contract. */
import { SCHEMA_VERSION, SESSION_EVENT_TYPES } from '@sockscope/schemas';
import { murmur2, withLength, writeVarint } from '@sockscope/runtime/kafka';
import type { RecordFormat } from '@sockscope/runtime/kafka';
import { FRAME_HEADER_BYTES, ID_LENGTH, TIME_LENGTH } from './frame.js';
import type { Frame } from './frame.js';
import { putNumber } from './json-bytes.js';

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

/** Writes records of one proxy straight from the bytes of frames. */
export function createEventRecordFormat(proxyId: string): RecordFormat<Frame> {
  /** `ce_source`, and the beginning of `ce_time` behind it. */
  const sourceAndTime = Buffer.concat([
    withLength('ce_source'),
    withLength(`/sockscope/proxies/${encodeURIComponent(proxyId)}`),
    withLength('ce_time'),
    Buffer.of(lengthByte(TIME_LENGTH)),
  ]);

  return {
    keyHash: ({ buffer, idAt }) => murmur2(buffer, idAt, idAt + ID_LENGTH),
    write(frame, writer) {
      const { buffer: source, kind, seq, timeAt, idAt, end } = frame;
      const idEnd = idAt + ID_LENGTH;
      const eventAt = frame.at + FRAME_HEADER_BYTES;
      const eventBytes = end - eventAt;
      writer.room(eventBytes + sourceAndTime.length + AROUND_MAX_BYTES);
      const { buffer } = writer;
      let at = writer.at;
      buffer[at] = lengthByte(ID_LENGTH);
      at = copy(source, idAt, idEnd, buffer, at + 1);
      at = writeVarint(buffer, at, eventBytes);
      source.copy(buffer, at, eventAt, end);
      at += eventBytes;
      const headers = FIRST_HEADERS[kind] as Buffer;
      buffer.set(headers, at);
      at += headers.length;
      const nameAt = at + 1;
      at = copy(source, idAt, idEnd, buffer, nameAt);
      buffer[at] = SLASH;
      at = putNumber(buffer, at + 1, seq);
      buffer[nameAt - 1] = lengthByte(at - nameAt);
      buffer.set(sourceAndTime, at);
      at += sourceAndTime.length;
      at = copy(source, timeAt, timeAt + TIME_LENGTH, buffer, at);
      at = copy(SUBJECT_HEADER, 0, SUBJECT_HEADER.length, buffer, at);
      writer.at = copy(source, idAt, idEnd, buffer, at);
    },
  };
}

/** Copies a few dozen bytes, in a loop because a part of a buffer takes longer to make. Returns the offset behind them. */
// oxlint-disable-next-line max-params -- An object for each copy would be garbage to collect.
function copy(source: Buffer, from: number, to: number, target: Buffer, at: number): number {
  let end = at;
  for (let i = from; i < to; i += 1) {
    target[end] = source[i] as number;
    end += 1;
  }
  return end;
}
