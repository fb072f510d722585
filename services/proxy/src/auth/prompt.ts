import password from '@inquirer/password';
import { SockscopeError } from '@sockscope/runtime';

/** RFC 1929: one length byte. */
const PASSWORD_MAX_BYTES = 255;

function checked(bytes: Buffer): Buffer {
  if (bytes.length === 0) throw new SockscopeError('password_invalid', 'the password is empty');
  if (bytes.length > PASSWORD_MAX_BYTES) {
    throw new SockscopeError(
      'password_invalid',
      `the password is longer than ${PASSWORD_MAX_BYTES} bytes`,
    );
  }
  return bytes;
}

/** The first line of piped input, without its line break. */
async function readPiped(input: NodeJS.ReadStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    const part = Buffer.from(chunk as Uint8Array);
    chunks.push(part);
    bytes += part.length;
    if (part.includes('\n') || bytes > PASSWORD_MAX_BYTES + 2) break;
  }
  const all = Buffer.concat(chunks);
  const end = all.indexOf('\n');
  const line = end < 0 ? all : all.subarray(0, end);
  return line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
}

async function readHidden(message: string, input: NodeJS.ReadStream): Promise<Buffer> {
  try {
    return Buffer.from(await password({ message }, { input, output: process.stderr }));
  } catch (cause) {
    throw new SockscopeError('password_invalid', 'interrupted', { cause });
  }
}

/**
 * Asks for a new password: twice on a terminal, otherwise the first line of standard input.
 * Never from the command line, which everybody on the machine can read.
 */
export async function askNewPassword(input: NodeJS.ReadStream): Promise<Buffer> {
  if (!input.isTTY) return checked(await readPiped(input));
  const first = checked(await readHidden('Password:', input));
  if (!first.equals(await readHidden('Again:', input))) {
    throw new SockscopeError('password_invalid', 'the two passwords differ');
  }
  return first;
}
