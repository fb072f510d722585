/** The size that moved most bytes a second; 16 and 256 KiB were slower. */
export const BUFFER_BYTES = 64 * 1024;
/** Free buffers that are kept for the next busy session. */
const MAX_FREE_BUFFERS = 64;

/**
 * Buffers for directions that move much. All others read into one shared landing buffer, whose
 * content must be copied before the read callback returns; so an idle session holds no buffer.
 */
export interface BufferPool {
  readonly landing: Buffer;
  take(): Buffer;
  give(buffer: Buffer): void;
}

export function createBufferPool(): BufferPool {
  const free: Buffer[] = [];
  return {
    landing: Buffer.allocUnsafeSlow(BUFFER_BYTES),
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES),
    give(buffer) {
      if (free.length < MAX_FREE_BUFFERS) free.push(buffer);
    },
  };
}
