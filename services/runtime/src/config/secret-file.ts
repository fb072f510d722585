import { readFileSync } from 'node:fs';
import { messageOf, SockscopeError } from '../errors.js';

const SECRET_MAX_BYTES = 64 * 1024;

/**
 * Reads a secret from a file, as containers mount them: without the line break at its end. Call it
 * for each connection to use a replaced secret.
 *
 * @throws SockscopeError `secret_unreadable` when the file is missing, empty or larger than 64 KiB.
 */
export function readSecretFile(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    throw new SockscopeError('secret_unreadable', `${path} cannot be read: ${messageOf(cause)}`, {
      retryable: true,
      cause,
    });
  }
  if (text === '' || text.length > SECRET_MAX_BYTES) {
    const why = text === '' ? 'is empty' : 'is larger than 64 KiB';
    throw new SockscopeError('secret_unreadable', `${path} ${why}`, { retryable: true });
  }
  return text;
}

/** The secret itself, or the content of the file if one is named. */
export function secretOf(value: string, file: string): string {
  return file === '' ? value : readSecretFile(file);
}
