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

/** Reads one line for each prompt from a terminal, without showing what is typed. */
function readHidden(input: NodeJS.ReadStream, prompts: readonly string[]): Promise<Buffer[]> {
  const lines: Buffer[] = [];
  let line = '';
  process.stderr.write(prompts[0] ?? '');
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      input.off('data', onData);
      input.setRawMode(false);
      input.pause();
      process.stderr.write('\n');
    };
    /** Whether there is more to read. */
    const take = (character: string): boolean => {
      switch (character.codePointAt(0)) {
        case KEY.enter:
        case KEY.newline:
          lines.push(Buffer.from(line));
          line = '';
          if (lines.length < prompts.length) {
            process.stderr.write(`\n${prompts[lines.length]}`);
            return true;
          }
          finish();
          resolve(lines);
          return false;
        case KEY.interrupt:
        case KEY.end:
          finish();
          reject(new SockscopeError('password_invalid', 'interrupted'));
          return false;
        case KEY.erase:
        case KEY.backspace:
          line = Array.from(line).slice(0, -1).join('');
          return true;
        default:
          line += character;
          return true;
      }
    };
    const onData = (text: string): void => {
      for (const character of text) if (!take(character)) return;
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
  const [first, second] = await readHidden(input, ['Password: ', 'Again: ']);
  if (first === undefined || second === undefined || !first.equals(second)) {
    throw new SockscopeError('password_invalid', 'the two passwords differ');
  }
  return checked(first);
}
