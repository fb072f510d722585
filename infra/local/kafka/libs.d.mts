export declare class KafkaLibsError extends Error {
  readonly code: 'KAFKA_LIBS';
  readonly retryable: true;
}
export declare function findKafkaLibs(): Promise<string | null>;
export declare function ensureKafkaLibs(options?: {
  onFetch?: () => void;
  root?: string;
  maven?: string;
}): Promise<string>;
