import { SockscopeError } from '@sockscope/runtime';

/** RFC 1929: one length byte. */
const PASSWORD_MAX_BYTES = 255;

function checked(password: Buffer): Buffer {
  if (password.length === 0) throw new SockscopeError('password_invalid', 'the password is empty');
  if (password.length > PASSWORD_MAX_BYTES) {
    throw new SockscopeError(
      'password_invalid',
      `the password is longer than ${PASSWORD_MAX_BYTES} bytes`,
    );
  }
  return password;
}

/** The first line of what is piped in, without its line break. */
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

const KEY = {
  enter: 0x0d,
  newline: 0x0a,
  interrupt: 0x03,
  end: 0x04,
  erase: 0x7f,
  backspace: 0x08,
};

/** Reads a line from a terminal without showing it. */
function readHidden(input: NodeJS.ReadStream, prompt: string): Promise<Buffer> {
  process.stderr.write(prompt);
  return new Promise((resolve, reject) => {
    let line = '';
    const finish = (): void => {
      input.off('data', onData);
      input.setRawMode(false);
      input.pause();
      process.stderr.write('\n');
    };
    const onData = (text: string): void => {
      for (const character of text) {
        const code = character.codePointAt(0);
        if (code === KEY.enter || code === KEY.newline) {
          finish();
          resolve(Buffer.from(line));
          return;
        }
        if (code === KEY.interrupt || code === KEY.end) {
          finish();
          reject(new SockscopeError('password_invalid', 'interrupted'));
          return;
        }
        if (code === KEY.erase || code === KEY.backspace)
          line = Array.from(line).slice(0, -1).join('');
        else line += character;
      }
    };
    input.setRawMode(true);
    input.setEncoding('utf8');
    input.on('data', onData);
    input.resume();
  });
}

/**
 * Asks for a new password: twice on a terminal, otherwise the first line of standard input.
 * Never from the command line, which everybody on the machine can read.
 */
export async function askNewPassword(input: NodeJS.ReadStream): Promise<Buffer> {
  if (!input.isTTY) return checked(await readPiped(input));
  const first = checked(await readHidden(input, 'Password: '));
  const second = await readHidden(input, 'Again: ');
  if (!first.equals(second)) {
    throw new SockscopeError('password_invalid', 'the two passwords differ');
  }
  return first;
}
