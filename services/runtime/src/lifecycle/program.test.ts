import { afterEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { countOption, createProgram } from './program.js';

const schema = z.object({
  relay: z.string().default('auto').meta({ env: 'T_RELAY', description: 'which' }),
  password: z.string().default('').meta({ env: 'T_PASSWORD', description: 'what', secret: true }),
});

const argv = process.argv;
afterEach(() => {
  process.argv = argv;
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

describe('a command line', () => {
  it('names a command that there is not, and the ones that there are', async () => {
    process.argv = ['node', 'main.js', 'migrat'];
    const run = vi.fn(() => Promise.resolve());
    const program = createProgram({ name: 't', description: 't', schema, run });
    program.command.command('migrate').action(() => undefined);
    const written: string[] = [];
    program.command.exitOverride().configureOutput({ writeErr: (text) => written.push(text) });
    await expect(program.command.allowExcessArguments().parseAsync()).rejects.toThrow(
      /unknown command migrat. Commands: migrate/,
    );
    expect(run).not.toHaveBeenCalled();
    expect(program.command.helpInformation()).toContain('--version');
  });

  it.each(['x', '-3', '0', '1.5'])('refuses %s if a number is wanted', (text) => {
    expect(() => countOption(text)).toThrow(/whole number from 1/);
  });
});

describe('--check-config', () => {
  it('prints the effective settings, with secrets hidden and auto resolved, and runs nothing', async () => {
    vi.stubEnv('T_PASSWORD', 'hunter2');
    process.argv = ['node', 'main.js', '--check-config'];
    const written: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      written.push(String(text));
      return true;
    });
    const run = vi.fn(() => Promise.resolve());
    const resolved = (config: z.infer<typeof schema>) => ({ ...config, relay: 'splice' });
    await createProgram({ name: 't', description: 't', schema, resolved, run }).main();
    const text = written.join('');
    expect(JSON.parse(text)).toMatchObject({ relay: 'splice' });
    expect(text).not.toContain('hunter2');
    expect(run).not.toHaveBeenCalled();
  });
});
