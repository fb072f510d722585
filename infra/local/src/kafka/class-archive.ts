import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessExit } from '../process/owned.js';

const FILE = 'classes.jsa';

/** Kafka's classes in the form in which a JVM maps them into memory. */
export interface ClassArchive {
  readonly jvmArgs: readonly string[];
  /** Arguments of a JVM that uses an existing archive and writes none. */
  readonly readArgs: readonly string[];
  /** Stores the archive that the JVM has written at its end. */
  keep(exit: ProcessExit): Promise<void>;
}

/**
 * The archive beside the jars ("class data sharing", see java(1)): a start takes a third less CPU time
 * than one that reads the jars. The first broker that stops cleanly writes it. A JVM ignores an archive
 * of another JVM or other jars.
 */
export function classArchive(libs: string): ClassArchive {
  const file = join(libs, FILE);
  if (existsSync(file)) {
    const readArgs = [`-XX:SharedArchiveFile=${file}`];
    return { jvmArgs: readArgs, readArgs, keep: () => Promise.resolve() };
  }
  // Several brokers can end at once, each with a whole archive.
  const part = `${file}.${randomUUID()}`;
  return {
    // It warns about each old class that it cannot take.
    jvmArgs: [`-XX:ArchiveClassesAtExit=${part}`, '-Xlog:cds=off', '-Xlog:cds+dynamic=off'],
    readArgs: [],
    async keep({ signal }) {
      // After SIGKILL it may be torn.
      if (signal === 'SIGKILL') await rm(part, { force: true });
      else if (existsSync(part)) await rename(part, file);
    },
  };
}
