const CONTENT_SIZE = 0x08;

/** An lz4 frame as Java's client writes it. The checksum of the header is not checked by the decoder. */
export function withoutContentSize(frame: Buffer): Buffer {
  if (((frame[4] ?? 0) & CONTENT_SIZE) === 0) return frame;
  const head = Buffer.from(frame.subarray(0, 6));
  head[4] = (head[4] ?? 0) & ~CONTENT_SIZE;
  return Buffer.concat([head, frame.subarray(14)]);
}
