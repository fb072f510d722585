/** The size that moved most bytes a second; 16 and 256 KiB were slower. */
const BUFFER_BYTES = 64 * 1024;
/** Free buffers that are kept for the next busy direction. */
const MAX_FREE_BUFFERS = 64;

/** Buffers for busy directions; all others read into a buffer that all sockets share. */
export interface BufferPool {
  take(): Buffer;
  give(buffer: Buffer): void;
}

export function createBufferPool(): BufferPool {
  const free: Buffer[] = [];
  return {
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES),
    give(buffer) {
      if (free.length < MAX_FREE_BUFFERS) free.push(buffer);
    },
  };
}
