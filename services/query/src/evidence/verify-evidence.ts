#!/usr/bin/env node
/**
 * Verifies a file of evidence offline. One file without dependencies: it runs on bare Node.
 *
 *     node verify-evidence.js FILE PUBLIC_KEY
 *
 * PUBLIC_KEY is the value `x` of the key, or a file with what `lookup/evidence/keys` answered. It must have
 * come another way than the evidence: a key inside the evidence proves nothing.
 */
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync, realpathSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

/** JSON with sorted names and without blanks (RFC 8785), so that the same value is the same bytes. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** A report and its detached signature (RFC 7515, appendix F); null if there is no key. */
export interface SignedEvidence {
  readonly evidence: unknown;
  readonly jws: string | null;
  readonly kid: string | null;
}

function statusOf({ kid }: SignedEvidence): string {
  return kid === null ? 'not signed' : `signed by ${kid}`;
}

/** The file of evidence as JSON. Its first line states whether it is signed. */
export function jsonFileOf(signed: SignedEvidence): string {
  const { evidence, jws, kid } = signed;
  return `{"status":${JSON.stringify(statusOf(signed))},
"kid":${JSON.stringify(kid)},
"jws":${JSON.stringify(jws)},
"evidence":${canonicalJson(evidence)}}
`;
}

const shownText = (value: unknown) =>
  typeof value === 'string' ? value : value === null ? '' : canonicalJson(value ?? '');
const escaped = (value: unknown) =>
  shownText(value).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);

const COLUMNS = [
  'started_at',
  'ended_at',
  'user',
  'source_ip',
  'source_port',
  'dest_host',
  'dest_ip',
  'dest_port',
  'egress_ip',
  'egress_port',
  'bytes_sent',
  'bytes_received',
  'status',
  'session_id',
] as const;

type Named = Readonly<Record<string, unknown>>;
const isNamed = (value: unknown): value is Named => typeof value === 'object' && value !== null;

/** The same for people. It holds the JSON, and shows nothing that is not in it. */
export function htmlFileOf(signed: SignedEvidence): string {
  const json = jsonFileOf(signed).replace(/</g, '\\u003c');
  const { evidence } = signed;
  const { question, answer, made_at } = isNamed(evidence) ? evidence : {};
  const items = isNamed(answer) && Array.isArray(answer['items']) ? answer['items'] : [];
  const cells = (tag: 'td' | 'th', values: readonly unknown[]) =>
    values.map((value) => `<${tag}>${escaped(value)}</${tag}>`).join('');
  const rows = items.filter(isNamed).map(
    (item) =>
      `<tr>${cells(
        'td',
        COLUMNS.map((name) => item[name]),
      )}</tr>`,
  );
  const completeness = isNamed(answer) ? answer['completeness'] : null;
  return `<!-- ${statusOf(signed)} -->
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sockscope: evidence</title></head><body>
<p>This report is ${escaped(statusOf(signed))}. Made at ${escaped(made_at)}.</p>
<h1>Question</h1><pre>${escaped(canonicalJson(question ?? null))}</pre>
<h1>Sessions</h1>
<table border="1"><tr>${cells('th', COLUMNS)}</tr>
${rows.join('\n')}
</table>
<h1>Completeness</h1><pre>${escaped(canonicalJson(completeness ?? null))}</pre>
<script type="application/json" id="evidence">${json}</script>
</body></html>
`;
}

/** A public key as `lookup/evidence/keys` publishes it. */
export interface PublicKey {
  readonly kid?: string;
  readonly x: string;
}

const HTML_JSON = /<script type="application\/json" id="evidence">([\s\S]*?)<\/script>/;

/** Returns what is wrong with a file of evidence; null if it is what was signed. */
export function problemOfEvidence(text: string, keys: readonly PublicKey[]): string | null {
  const isHtml = text.startsWith('<');
  const json = isHtml ? HTML_JSON.exec(text)?.[1] : text;
  let signed: SignedEvidence;
  try {
    const file: unknown = JSON.parse(json ?? '');
    if (!isNamed(file)) return 'this is not an evidence file';
    const { evidence, jws, kid } = file;
    const isText = (value: unknown) => value === null || typeof value === 'string';
    if (!isText(jws) || !isText(kid)) return 'this is not an evidence file';
    signed = { evidence, jws, kid };
  } catch {
    return 'this is not an evidence file';
  }
  const made = isHtml ? htmlFileOf(signed) : jsonFileOf(signed);
  if (made !== text) return 'the file differs from the JSON that it contains';
  if (signed.jws === null) return 'not signed';
  const [protectedHeader = '', payload, signature = '', more] = signed.jws.split('.');
  if (payload !== '' || more !== undefined) return 'the signature is not a detached JWS';
  const header: unknown = headerOf(protectedHeader);
  if (!isNamed(header) || header['alg'] !== 'EdDSA' || header['kid'] !== signed.kid) {
    return "the header of the signature is not Sockscope's";
  }
  const named = keys.filter(({ kid }) => kid === undefined || kid === signed.kid);
  if (named.length === 0) return `the public key ${signed.kid} is not among the given keys`;
  const input = `${protectedHeader}.${Buffer.from(canonicalJson(signed.evidence)).toString('base64url')}`;
  const isValid = named.some(({ x }) => {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return verify(null, Buffer.from(input), key, Buffer.from(signature, 'base64url'));
  });
  return isValid
    ? null
    : 'the signature does not match: the report was changed, or this is another key';
}

function headerOf(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    return null;
  }
}

/** A key by itself, or a file with keys. */
function keysOf(argument: string): PublicKey[] {
  if (/^[A-Za-z0-9_-]{43}$/.test(argument)) return [{ x: argument }];
  const found: unknown = JSON.parse(readFileSync(argument, 'utf8'));
  const list = isNamed(found) && Array.isArray(found['keys']) ? found['keys'] : [found];
  return list
    .filter(isNamed)
    .map(({ kid, x }) => ({ ...(typeof kid === 'string' ? { kid } : {}), x: String(x) }));
}

function main([file, key]: readonly string[]): number {
  if (file === undefined || key === undefined) {
    process.stderr.write('usage: node verify-evidence.js FILE PUBLIC_KEY\n');
    return 2;
  }
  const problem = problemOfEvidence(readFileSync(file, 'utf8'), keysOf(key));
  process.stdout.write(problem === null ? 'valid\n' : `INVALID: ${problem}\n`);
  return problem === null ? 0 : 1;
}

const [, script] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(realpathSync(script)).href) {
  process.exitCode = main(process.argv.slice(2));
}
