import { EXPORT_FORMATS, EXPORT_TYPES } from '@sockscope/schemas/api';
import type { ExportFormat } from '@sockscope/schemas/api';
import type { Context } from '../http/context.js';
import { invalidParameters, ProblemError } from '../problems/problem.js';

const JSON_TYPES = ['application/json', 'application/problem+json'];

const typeOf = (format: ExportFormat) => EXPORT_TYPES[format].split(';', 1)[0] ?? '';

/** Media ranges of an Accept header, the most wanted first. */
function wantedTypes(accept: string): string[] {
  return accept
    .split(',')
    .map((part) => {
      const [type = '', ...parameters] = part.split(';').map((each) => each.trim().toLowerCase());
      const q = parameters.find((each) => each.startsWith('q='))?.slice(2);
      return { type, q: q === undefined ? 1 : Number(q) };
    })
    .filter(({ q }) => q > 0)
    .toSorted((a, b) => b.q - a.q)
    .map(({ type }) => type);
}

function formatOfType(type: string): ExportFormat | 'json' | null {
  if (type === '*/*' || type === 'application/*' || JSON_TYPES.includes(type)) return 'json';
  if (type === 'text/*') return 'csv';
  return EXPORT_FORMATS.find((format) => typeOf(format) === type) ?? null;
}

/** The available format that an Accept header prefers; null if none is acceptable. */
function preferredFormat(accept: string | undefined): ExportFormat | 'json' | null {
  if (accept === undefined || accept.trim() === '') return 'json';
  for (const type of wantedTypes(accept)) {
    const found = formatOfType(type);
    if (found !== null) return found;
  }
  return null;
}

/** Whether a request may ask for another format than JSON, before it was validated. */
export function mayWantFile(url: string, accept: string | undefined): boolean {
  return url.includes('format=') || preferredFormat(accept) !== 'json';
}

/**
 * The format of an answer: the one in `format`, else the available one that the Accept header
 * prefers.
 *
 * @throws ProblemError not-acceptable
 */
export function negotiate(
  format: ExportFormat | 'json' | undefined,
  accept: string | undefined,
): ExportFormat | 'json' {
  if (format !== undefined) return format;
  const preferred = preferredFormat(accept);
  if (preferred !== null) return preferred;
  const known = [...JSON_TYPES.slice(0, 1), ...EXPORT_FORMATS.map(typeOf)].join(', ');
  throw new ProblemError('not-acceptable', `there is: ${known}`);
}

/** The format that a request wants beside JSON; null for JSON. @throws ProblemError if a page of an export is wanted. */
export function exportFormatOf(
  query: {
    readonly format?: ExportFormat | 'json' | undefined;
    readonly cursor?: string | undefined;
  },
  context: Context,
): ExportFormat | null {
  const format = negotiate(query.format, context.request.headers.accept);
  if (format === 'json') return null;
  if (query.cursor !== undefined) {
    throw invalidParameters([{ parameter: 'cursor', message: 'an export has no pages' }]);
  }
  return format;
}
