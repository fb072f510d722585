import { SockscopeError } from '@sockscope/runtime';
import {
  CST,
  isCollection,
  isMap,
  isNode,
  isScalar,
  Lexer,
  LineCounter,
  parseDocument,
} from 'yaml';
import type { Document } from 'yaml';
import type { z } from 'zod';

/** One thing wrong in a policy file. Lines count from 1. */
export interface FileProblem {
  readonly line: number;
  readonly message: string;
}

/** Problems that are listed before the rest is only counted. */
const LISTED_PROBLEMS = 100;
/** YAML aliases that one node may stand for: enough for shared lists, too few for a bomb. */
const ALIASES = 1_000;

/** Levels of flow collections, and of `- - -` and `? ? ?` on one line. */
const MAX_LEVELS = 64;
/** Columns of indentation: each level takes at least one. */
const MAX_COLUMNS = 256;

/** A policy file that cannot be used. Its message lists every problem, one a line. */
export class PolicyFileError extends SockscopeError {
  readonly problems: readonly FileProblem[];

  constructor(file: string, problems: readonly FileProblem[]) {
    const sorted = problems.toSorted((a, b) => a.line - b.line);
    const lines = sorted.slice(0, LISTED_PROBLEMS).map((p) => `  ${file}:${p.line}: ${p.message}`);
    if (sorted.length > LISTED_PROBLEMS) lines.push(`  … ${sorted.length - LISTED_PROBLEMS} more`);
    super('policy_file_invalid', `${file} is not valid:\n${lines.join('\n')}`);
    this.problems = sorted;
  }
}

type Path = readonly PropertyKey[];

/** A parsed YAML file that knows on which line each value stands. */
export interface PolicyDocument {
  readonly value: unknown;
  /** The line of the value at a path, or of the nearest thing around it that is there. */
  lineOf(path: Path): number;
}

function positionOf(document: Document, path: Path): number | null {
  for (let length = path.length; length > 0; length -= 1) {
    const parent: unknown =
      length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    if (isMap(parent)) {
      // The key's line, because a value may begin on a later one.
      const pair = parent.items.find((item) => isScalar(item.key) && item.key.value === key);
      if (pair !== undefined && isNode(pair.key)) return pair.key.range?.[0] ?? null;
    } else if (isCollection(parent)) {
      const item: unknown = parent.get(key, true);
      if (isNode(item)) return item.range?.[0] ?? null;
    }
  }
  return null;
}

/**
 * The line on which collections are nested too deeply; null if they are not. The parser calls
 * itself for each level, and if the stack ends in the middle of a regular expression, V8 ends
 * the process. Its lexer does not.
 */
function tooDeepLine(text: string): number | null {
  let line = 1;
  let isLineStart = true;
  let levels = 0;
  let indicators = 0;
  for (const token of new Lexer().lex(text)) {
    switch (CST.tokenType(token)) {
      case 'flow-map-start':
      case 'flow-seq-start':
        levels += 1;
        break;
      case 'flow-map-end':
      case 'flow-seq-end':
        levels -= 1;
        break;
      case 'seq-item-ind':
      case 'explicit-key-ind':
        indicators += 1;
        break;
      case 'space':
        if (isLineStart && token.length > MAX_COLUMNS) return line;
        break;
      case 'newline':
        indicators = 0;
        break;
      default:
    }
    if (levels > MAX_LEVELS || indicators > MAX_LEVELS) return line;
    isLineStart = token.endsWith('\n');
    for (let at = token.indexOf('\n'); at >= 0; at = token.indexOf('\n', at + 1)) line += 1;
  }
  return null;
}

/** @throws PolicyFileError if collections are nested too deeply to be parsed safely. */
export function refuseDeepNesting(file: string, text: string): void {
  const line = tooDeepLine(text);
  if (line !== null) throw new PolicyFileError(file, [{ line, message: 'is nested too deeply' }]);
}

/**
 * Parses YAML 1.2.
 *
 * @throws PolicyFileError if it is not YAML, repeats a key, or is an alias bomb.
 */
export function parsePolicyDocument(file: string, text: string): PolicyDocument {
  refuseDeepNesting(file, text);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    throw new PolicyFileError(
      file,
      document.errors.map((e) => ({ line: lines.linePos(e.pos[0]).line, message: e.message })),
    );
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: ALIASES });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new PolicyFileError(file, [{ line: 1, message }]);
  }
  return {
    value,
    lineOf(path) {
      const position = positionOf(document, path);
      return position === null ? 1 : lines.linePos(position).line;
    },
  };
}

/** `rules[2].ports[0]`, as one points at a value. */
function pathText(path: Path): string {
  return path
    .map((key, i) =>
      typeof key === 'number' ? `[${key + 1}]` : `${i === 0 ? '' : '.'}${String(key)}`,
    )
    .join('');
}

/** Zod's issues as problems with lines; an unknown key is one problem each, at its own line. */
export function problemsOf(document: PolicyDocument, error: z.ZodError): FileProblem[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        line: document.lineOf([...issue.path, key]),
        message: `${pathText([...issue.path, key])} is not a setting here`,
      }));
    }
    const where = pathText(issue.path);
    return [
      {
        line: document.lineOf(issue.path),
        message: where === '' ? issue.message : `${where}: ${issue.message}`,
      },
    ];
  });
}
