import type { Command } from '@sockscope/runtime';
import { createEvidenceKey, rotateEvidenceKey } from './key-file.js';

/** Hangs `evidence-key create|rotate` on the service's command line. */
export function registerEvidenceKey(program: Command): void {
  const key = program.command('evidence-key').description('the key that signs evidence');
  const commands = [
    ['create', 'make a key in a new file', createEvidenceKey],
    ['rotate', 'create a new key; the former public key stays published', rotateEvidenceKey],
  ] as const;
  for (const [name, description, make] of commands) {
    key
      .command(name)
      .description(description)
      .requiredOption('--file <file>', 'file of the key, named by QUERY_EVIDENCE_KEY_FILE')
      .action(async ({ file }: { readonly file: string }) => {
        const kid = await make(file, Date.now());
        process.stdout.write(
          `${file} has the key ${kid}; the service uses it from its next start\n`,
        );
      });
  }
}
