import 'vitest';

declare module 'vitest' {
  /** What global-setup.ts hands to integration tests; read with `inject('kafkaBrokers')`. */
  interface ProvidedContext {
    /** host:port */
    kafkaBrokers: string[];
    /** http://host:port, user `default` without a password */
    clickhouseUrl: string;
  }
}
