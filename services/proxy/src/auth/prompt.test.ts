import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { askNewPassword } from './prompt.js';

/** What is typed or piped, as standard input gives it. */
function input(
  text: string | Buffer,
  isTTY: boolean,
  setRawMode: (isRaw: boolean) => void = () => undefined,
): NodeJS.ReadStream {
  const stream = Object.assign(new PassThrough(), { isTTY, setRawMode });
  stream.end(text);
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

  it('shows nothing of it on a terminal, and takes corrections', async () => {
    const modes: boolean[] = [];
    const stream = input('secrex\u007ft\rsecret\r', true, (isRaw) => modes.push(isRaw));
    expect((await askNewPassword(stream)).toString()).toBe('secret');
    expect(shown).toBe('Password: \nAgain: \n');
    expect(modes).toEqual([true, false]);
  });

  it('refuses two that differ, an empty one, and Ctrl-C', async () => {
    await expect(askNewPassword(input('one\rtwo\r', true))).rejects.toThrow('differ');
    await expect(askNewPassword(input('\r\r', true))).rejects.toThrow('empty');
    await expect(askNewPassword(input('abc\u0003', true))).rejects.toThrow('interrupted');
  });

  it('takes the first line of what is piped in, byte for byte', async () => {
    const bytes = Buffer.from([0xff, 0x20, 0xc3, 0x28]);
    const piped = Buffer.concat([bytes, Buffer.from('\r\nnext line\n')]);
    expect(await askNewPassword(input(piped, false))).toEqual(bytes);
    expect((await askNewPassword(input('no line break', false))).toString()).toBe('no line break');
    await expect(askNewPassword(input('', false))).rejects.toThrow('empty');
    await expect(askNewPassword(input('x'.repeat(256), false))).rejects.toThrow('255 bytes');
  });
});
