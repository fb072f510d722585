#!/usr/bin/env node
/**
 * Verifies a file of evidence offline. One file without dependencies: it runs on bare Node.
 *
 *     node verify-evidence.js FILE PUBLIC_KEY
 *
 * PUBLIC_KEY is the value `x` of the key, or a file with the answer of `lookup/evidence/keys`. It must have
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

type Named = Readonly<Record<string, unknown>>;
const isNamed = (value: unknown): value is Named => typeof value === 'object' && value !== null;
const named = (value: unknown): Named => (isNamed(value) ? value : {});
const listed = (value: unknown): Named[] => (Array.isArray(value) ? value.filter(isNamed) : []);

/** Style for the screen and for A4: no rows are cut in two, and long names break. */
const STYLE = `
body { margin: 24px auto; max-width: 960px; padding: 0 16px; font: 14px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; }
h1 { font-size: 24px; margin: 0 0 8px; } h2 { font-size: 16px; margin: 24px 0 8px; } h3 { font-size: 14px; margin: 16px 0 4px; }
table { width: 100%; border-collapse: collapse; font-size: 12px; margin-bottom: 8px; }
th, td { padding: 2px 8px; border: 1px solid #d5dae0; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th[scope=row] { width: 30%; font-weight: 400; color: #57606a; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.status { padding: 8px 12px; border: 1px solid #57606a; font-weight: 600; }
code, pre { font: 12px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
section, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
@media print { body { margin: 0; max-width: none; padding: 0; } @page { size: A4; margin: 16mm; } }
`;

/** The fields of a session that matter most, in front of the others. */
const FIRST_FIELDS = [
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
];

/** Names and values as rows. They are sorted by name, because canonical JSON keeps no other order. */
function fieldsOf(value: Named): string {
  const others = Object.keys(value)
    .filter((name) => !FIRST_FIELDS.includes(name))
    .toSorted();
  const names = [...FIRST_FIELDS.filter((name) => Object.hasOwn(value, name)), ...others];
  const rows = names.map(
    (name) => `<tr><th scope="row">${escaped(name)}</th><td>${escaped(value[name])}</td></tr>`,
  );
  return `<table>${rows.join('\n')}</table>`;
}

const EVENT_COLUMNS = ['seq', 'type', 'occurred_at', 'bytes_sent', 'bytes_received'] as const;

function sessionOf(item: Named, events: Named): string {
  const timeline = named(events[String(item['session_id'])]);
  const rows = listed(timeline['items']).map(
    (event) =>
      `<tr>${EVENT_COLUMNS.map((name) => `<td${name.startsWith('bytes_') || name === 'seq' ? ' class="number"' : ''}>${escaped(event[name])}</td>`).join('')}</tr>`,
  );
  const cut =
    timeline['truncated'] === true ? '<p>There are more events than this report holds.</p>' : '';
  return `<section><h3>Session ${escaped(item['session_id'])}</h3>
${fieldsOf(item)}</section>
<table><tr>${EVENT_COLUMNS.map((name) => `<th>${name}</th>`).join('')}</tr>
${rows.join('\n')}</table>${cut}`;
}

/** Instructions for a reader to check the report, with the report's values. */
function checkOf({ kid }: SignedEvidence): string {
  if (kid === null) {
    return '<p>This report is not signed, so nobody can check that it is unchanged.</p>';
  }
  return `<ol>
<li>Get the public key <code>${escaped(kid)}</code> from the operator by another way than this report. The operator publishes it at <code>/api/v1/lookup/evidence/keys</code>.</li>
<li>Get <code>verify-evidence.js</code> of Sockscope. It needs Node and no network.</li>
<li>Run <code>node verify-evidence.js THIS_FILE PUBLIC_KEY</code>. It prints <code>valid</code>, or the problem.</li>
</ol>
<p>A valid signature proves that the holder of the key made exactly this report. It does not prove that the recorded events are true or complete, that the clocks were right, or when the report was made.</p>`;
}

/** The same for people. It holds the JSON, shows nothing that is not in it, and loads nothing. */
export function htmlFileOf(signed: SignedEvidence): string {
  const json = jsonFileOf(signed).replace(/</g, '\\u003c');
  const evidence = named(signed.evidence);
  const answer = named(evidence['answer']);
  const range = named(answer['range']);
  const items = listed(answer['items']);
  const egress = evidence['egress_ips'];
  const searched = Array.isArray(egress) ? { 'egress addresses searched': egress } : {};
  return `<!-- ${statusOf(signed)} -->
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Sockscope: evidence</title>
<style>${STYLE}</style></head><body>
<h1>Evidence report</h1>
<p class="status">This report is ${escaped(statusOf(signed))}.</p>
${fieldsOf({
  'made at': evidence['made_at'],
  'made by': evidence['made_by'],
  'made with': `Sockscope ${shownText(evidence['product_version'])}`,
})}
<h2>The question</h2>
${fieldsOf({ ...named(evidence['question']), ...searched })}
<h2>What was found</h2>
<p>${items.length === 1 ? '1 session' : `${items.length} sessions`} that fit, open between ${escaped(range['from'])} and ${escaped(range['to'])}. All times are UTC. Bytes are cumulative.${answer['truncated'] === true ? ' More sessions fit than this report holds.' : ''}</p>
${items.map((item) => sessionOf(item, named(evidence['events']))).join('\n')}
<h2>What this report cannot know</h2>
${fieldsOf(named(answer['completeness']))}
<h2>How to check this report</h2>
${checkOf(signed)}
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

/** Returns the problem with a file of evidence; null if it is unchanged. */
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
  const usable = keys.filter(({ kid }) => kid === undefined || kid === signed.kid);
  if (usable.length === 0) return `the public key ${signed.kid} is not among the given keys`;
  const input = `${protectedHeader}.${Buffer.from(canonicalJson(signed.evidence)).toString('base64url')}`;
  const bytes = Buffer.from(signature, 'base64url');
  // The decoder ignores bits and characters that it has no use for, but these are changes, too.
  const isWhole = bytes.toString('base64url') === signature;
  const isValid = usable.some(({ x }) => {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return isWhole && verify(null, Buffer.from(input), key, bytes);
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

const X = /^[A-Za-z0-9_-]{43}$/;

/** A key by itself, or a file with keys. @throws Error */
function keysOf(argument: string): PublicKey[] {
  if (X.test(argument)) return [{ x: argument }];
  const found: unknown = JSON.parse(readFileSync(argument, 'utf8'));
  const list = isNamed(found) && Array.isArray(found['keys']) ? found['keys'] : [found];
  return list.filter(isNamed).map(({ kid, x }) => {
    if (typeof x !== 'string' || !X.test(x)) throw new Error(`${argument} has no public key`);
    return { ...(typeof kid === 'string' ? { kid } : {}), x };
  });
}

const HELP = `Checks that the owner of a key has signed exactly this report.

  node verify-evidence.js FILE PUBLIC_KEY

FILE is the report, PUBLIC_KEY the value x of the key, or a file with the answer of
/api/v1/lookup/evidence/keys. Exit code: 0 valid, 1 invalid, 2 wrong or unreadable arguments.

Example: node verify-evidence.js sockscope-evidence.json keys.json
`;

function main([file, key]: readonly string[]): number {
  if (file === '--help' || file === '-h') {
    process.stdout.write(HELP);
    return 0;
  }
  if (file === undefined || key === undefined) {
    process.stderr.write(HELP);
    return 2;
  }
  let text: string;
  let keys: PublicKey[];
  try {
    [text, keys] = [readFileSync(file, 'utf8'), keysOf(key)];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`Cannot check ${file}: ${reason}. See --help for the arguments.\n`);
    return 2;
  }
  const problem = problemOfEvidence(text, keys);
  process.stdout.write(problem === null ? 'valid\n' : `INVALID: ${problem}\n`);
  return problem === null ? 0 : 1;
}

const [, script] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(realpathSync(script)).href) {
  process.exitCode = main(process.argv.slice(2));
}
