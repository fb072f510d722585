import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { askNewPassword } from './prompt.js';

/** Standard input that is a pipe. */
function piped(bytes: string | Buffer): NodeJS.ReadStream {
  const stream = Object.assign(new PassThrough(), { isTTY: false });
  stream.end(bytes);
  return stream as unknown as NodeJS.ReadStream;
}

describe('asking for a password', () => {
  let shown = '';
  beforeEach(() => {
    shown = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      shown += String(text);
      return true;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** Types the answers at a terminal, each once its question is on the screen. */
  async function type(first: string, second: string): Promise<string> {
    const stream = Object.assign(new PassThrough(), { isTTY: true });
    const asked = askNewPassword(stream as unknown as NodeJS.ReadStream);
    asked.catch(() => undefined);
    await vi.waitFor(() => {
      expect(shown).toContain('Password:');
    }, 60_000);
    stream.write(first);
    if (second !== '') {
      await vi.waitFor(() => {
        expect(shown).toContain('Again:');
      }, 60_000);
      stream.write(second);
    }
    return (await asked).toString();
  }

  it('shows no part of the password on a terminal, and takes corrections', async () => {
    expect(await type('secrex\u007ft\r', 'secret\r')).toBe('secret');
    expect(shown).not.toContain('secre');
  });

  it('refuses two passwords that differ, an empty one, and Ctrl-C', async () => {
    await expect(type('one\r', 'two\r')).rejects.toThrow('differ');
    shown = '';
    await expect(type('\r', '')).rejects.toThrow('empty');
    shown = '';
    await expect(type('abc\u0003', '')).rejects.toThrow('interrupted');
  });

  it('takes the first line of piped input, byte for byte', async () => {
    const bytes = Buffer.from([0xff, 0x20, 0xc3, 0x28]);
    const lines = Buffer.concat([bytes, Buffer.from('\r\nnext line\n')]);
    expect(await askNewPassword(piped(lines))).toEqual(bytes);
    expect((await askNewPassword(piped('no line break'))).toString()).toBe('no line break');
    await expect(askNewPassword(piped(''))).rejects.toThrow('empty');
    await expect(askNewPassword(piped('x'.repeat(256)))).rejects.toThrow('255 bytes');
  });
});
