import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEvidenceKey, readEvidenceKeys } from './key-file.js';
import { createEvidenceSigner } from './signer.js';
import { htmlFileOf, jsonFileOf, problemOfEvidence } from './verify-evidence.js';
import type { PublicKey } from './verify-evidence.js';

const folder = mkdtempSync(join(tmpdir(), 'verify-'));
const verifier = fileURLToPath(new URL('../../dist/evidence/verify-evidence.js', import.meta.url));

let key: PublicKey;
let files: Readonly<Record<'json' | 'html', string>>;

beforeAll(async () => {
  const keyFile = join(folder, 'key.json');
  await createEvidenceKey(keyFile, 0);
  const keys = readEvidenceKeys(keyFile);
  key = { x: keys.current.jwk.x };
  const signed = await createEvidenceSigner(keys).sign({
    kind: 'sockscope.evidence',
    question: { dest_ip: '198.51.100.7' },
    answer: { items: [{ session_id: 'a', user: 'alice', bytes_sent: 12 }] },
  });
  files = { json: jsonFileOf(signed), html: htmlFileOf(signed) };
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('a file of evidence', () => {
  it.each(['json', 'html'] as const)('as %s is invalid if any byte of it differs', (format) => {
    const file = Buffer.from(files[format]);
    expect(problemOfEvidence(file.toString(), [key])).toBeNull();
    const accepted: string[] = [];
    for (let at = 0; at < file.length; at += 1) {
      for (const bit of [1, 2, 16, 32]) {
        const changed = Buffer.from(file);
        changed[at] = (changed[at] ?? 0) ^ bit;
        const text = changed.toString();
        if (problemOfEvidence(text, [key]) === null) accepted.push(text.slice(at - 20, at + 5));
      }
    }
    expect(accepted).toEqual([]);
  });

  it.each(['!', '=', ' ', 'A'])('is invalid with %j behind its signature', (more) => {
    const text = files.json.replace(/"jws":"[^"]+/, `$&${more}`);
    expect(problemOfEvidence(text, [key])).toMatch(/^the signature does not match/);
  });

  it('is invalid if the bits differ that the last character of its signature has no use for', () => {
    const text = files.json.replace(/(?<="jws":"[^"]+)[AQgw]"/, (last) =>
      last.replace(/[AQgw]/, (char) => String.fromCharCode(char.charCodeAt(0) + 1)),
    );
    expect(text).not.toBe(files.json);
    expect(problemOfEvidence(text, [key])).toMatch(/^the signature does not match/);
  });
});

describe('the verifier', () => {
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [verifier, ...args], {
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  };

  it('ends with 2 and one line of advice if it cannot read its arguments', () => {
    const file = join(folder, 'evidence.json');
    writeFileSync(file, files.json);
    const noKeys = join(folder, 'no-keys.json');
    writeFileSync(noKeys, '{}');
    for (const args of [
      [join(folder, 'missing.json'), key.x],
      [file, join(folder, 'missing.json')],
      [file, noKeys],
      [file, file],
      [file],
    ]) {
      const { status, stdout, stderr } = run(...args);
      expect([args, status, stdout]).toEqual([args, 2, '']);
      expect(stderr).not.toMatch(/^\s+at /m);
    }
    expect(run(file, key.x)).toEqual({ status: 0, stdout: 'valid\n', stderr: '' });
  }, 30_000);
});
