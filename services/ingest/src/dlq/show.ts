/** Dead letters as text for a terminal. Their content is hostile: every part is escaped. */
import type { DeadLetter } from './dlq-record.js';

const LINE_DETAIL_CHARS = 100;
/** Bytes of a value that are shown. */
const SHOWN_MAX_BYTES = 16 * 1024;

/** Text in which nothing steers the terminal: control and format characters are shown as `\u{…}`. */
export function harmless(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu, (char) => {
    return `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
  });
}

/** Returns bytes as text if they are UTF-8, else as hexadecimal digits. */
export function shownBytes(bytes: Buffer | string | null): string {
  if (bytes === null) return '(null)';
  const all = Buffer.from(bytes as Buffer);
  const head = all.subarray(0, SHOWN_MAX_BYTES);
  const more = all.length > head.length ? ` … (${all.length} bytes)` : '';
  // A character may be cut in two at the end; an incomplete character at the end is then not an
  // error.
  const text = new TextDecoder('utf-8').decode(head, { stream: true });
  return text.includes('\uFFFD') ? `0x${head.toString('hex')}${more}` : `${harmless(text)}${more}`;
}

/** One line: place, reason, origin. */
export function listLine(letter: DeadLetter): string {
  const { origin } = letter;
  const from =
    origin === null
      ? '-'
      : `${harmless(origin.topic)} ${harmless(origin.partition)}:${harmless(origin.offset)}`;
  const at = origin === null ? '-' : harmless(origin.timestamp);
  const detail = harmless(letter.detail).slice(0, LINE_DETAIL_CHARS);
  return `${letter.partition}:${letter.offset}  ${letter.reason}  ${at}  ${from}  ${detail}`;
}

export function showText(letter: DeadLetter): string {
  const { origin, record } = letter;
  return [
    `dead letter  ${letter.partition}:${letter.offset}`,
    `reason       ${letter.reason}`,
    `detail       ${harmless(letter.detail)}`,
    `came from    ${origin === null ? '(unknown)' : `${harmless(origin.topic)}, partition ${harmless(origin.partition)}, offset ${harmless(origin.offset)}, ${harmless(origin.timestamp)}`}`,
    ...(letter.cutFromBytes === null
      ? []
      : [
          `cut          the value had ${letter.cutFromBytes} bytes; the original record has all of it`,
        ]),
    `key          ${shownBytes(record.key)}`,
    ...Object.entries(record.headers).map(
      ([name, value]) => `header       ${harmless(name)}: ${shownBytes(value)}`,
    ),
    `value        ${shownBytes(record.value)}`,
  ].join('\n');
}
