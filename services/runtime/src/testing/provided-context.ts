import 'vitest';

/** Values that the integration tests' global setup gives to every test file by `inject(name)`. */
declare module 'vitest' {
  export interface ProvidedContext {
    /** `host:port` of each broker of the real Kafka. */
    kafkaBrokers: string[];
    /** The folder of that Kafka's partitions. */
    kafkaLogDir: string;
    /** HTTP address of the real ClickHouse. */
    clickhouseUrl: string;
    /** A database there with all tables, from which nothing expires; see `cloneDatabase`. */
    clickhouseTemplate: string;
    /** Its process; 0 if it ran before. */
    clickhousePid: number;
    /** Folder that it may write backups to; '' if it runs already. */
    clickhouseBackupDir: string;
  }
}
