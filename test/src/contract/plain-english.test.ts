import { describe, expect, test } from 'vitest';
import {
  BANNED,
  CELL_CHARACTERS_MAX,
  NOT_YET,
  PARAGRAPH_CHARACTERS_MAX,
  SENTENCE_WORDS_MAX,
  UNCHECKED,
} from './plain-english.js';
import { readText, repositoryFiles } from './repository.js';

const isChecked = (file: string) =>
  ![...UNCHECKED, ...NOT_YET].some((beginning) => file.startsWith(beginning));
const documents = repositoryFiles('*.md').filter(isChecked);
const sources = repositoryFiles('*.ts', '*.tsx', '*.mjs', '*.sql', '*.yaml')
  .filter(isChecked)
  .filter((file) => !file.includes('.generated.'));

interface Prose {
  readonly paragraphs: readonly string[];
  readonly cells: readonly string[];
}

/** Returns the prose of a Markdown file, without code, diagrams, headings and tags. */
function proseOf(markdown: string): Prose {
  const paragraphs: string[] = [];
  const cells: string[] = [];
  let current: string[] = [];
  const end = () => {
    if (current.length > 0) paragraphs.push(current.join(' '));
    current = [];
  };
  const text = markdown
    .replace(/^---\n[\s\S]*?\n---\n/, '')
    .replace(/^( *)```[\s\S]*?^\1```$/gm, '');
  for (const line of text.split('\n')) {
    const trimmed = line.trim();
    if (trimmed.startsWith('|')) {
      end();
      cells.push(...trimmed.split(/(?<!\\)\|/).map((cell) => cell.trim()));
    } else if (trimmed === '' || /^(?:#|<!--|<\/?[a-z])/.test(trimmed)) {
      end();
    } else {
      if (/^(?:[-*]|\d+\.)\s/.test(trimmed)) end();
      current.push(trimmed.replace(/^(?:[-*]|\d+\.)\s+(?:\[[ x]\] )?/, ''));
    }
  }
  end();
  return { paragraphs, cells };
}

function sentencesOf(paragraph: string): string[] {
  return paragraph
    .replace(/`[^`]*`/g, 'Code')
    .replace(/\]\([^)]*\)/g, ']')
    .split(/(?<=[.!?:;][)*"]*)\s+(?=[A-Z`*[("…\d])/);
}

const wordsOf = (sentence: string) =>
  sentence.split(/\s+/).filter((word) => /\w/.test(word)).length;

/** Returns the banned phrases of a text, each with the words around it. */
function bannedIn(text: string): string[] {
  // A phrase may reach over the end of a line, also of a comment.
  const line = text.replace(/\n\s*(?:\*|\/\/|--|#|>)?\s*/g, ' ');
  return BANNED.flatMap(({ phrase, write }) =>
    [...line.matchAll(new RegExp(phrase, `g${phrase.flags}`))].map(
      ({ index, 0: found }) =>
        `…${line.slice(Math.max(0, index - 40), index + found.length + 30)}…: write ${write}`,
    ),
  );
}

describe('the check of prose', () => {
  test('finds a banned phrase that reaches over two lines of a comment', () => {
    expect(bannedIn('/**\n * The sums are made\n * anew, for\n * good.\n */')).toHaveLength(2);
  });

  test('counts the words of sentences, not of code, tables or link targets', () => {
    const { paragraphs, cells } = proseOf(
      '# Title\n\nOne [two](a b c). Three `four five`:\nsix.\n\n```\nnot this\n```\n\n| a | b c |\n',
    );
    expect(paragraphs.flatMap(sentencesOf).map(wordsOf)).toEqual([2, 3]);
    expect(cells).toContain('b c');
  });
});

describe('our prose', () => {
  test('has no banned phrase in a document', () => {
    const found = documents.flatMap((file) =>
      bannedIn(readText(file)).map((phrase) => `${file}: ${phrase}`),
    );
    expect(found).toEqual([]);
  });

  test('has no banned phrase in a comment, a message or the name of a test', () => {
    const found = sources.flatMap((file) =>
      bannedIn(readText(file)).map((phrase) => `${file}: ${phrase}`),
    );
    expect(found).toEqual([]);
  });

  test(`has no sentence of more than ${SENTENCE_WORDS_MAX} words in a document`, () => {
    const long = documents.flatMap((file) =>
      proseOf(readText(file))
        .paragraphs.flatMap(sentencesOf)
        .filter((sentence) => wordsOf(sentence) > SENTENCE_WORDS_MAX)
        .map((sentence) => `${file}: ${wordsOf(sentence)} words: ${sentence}`),
    );
    expect(long).toEqual([]);
  });

  test(`has no paragraph of more than ${PARAGRAPH_CHARACTERS_MAX} characters in a document`, () => {
    const long = documents.flatMap((file) =>
      proseOf(readText(file))
        .paragraphs.filter((paragraph) => paragraph.length > PARAGRAPH_CHARACTERS_MAX)
        .map((paragraph) => `${file}: ${paragraph.length} characters: ${paragraph.slice(0, 80)}…`),
    );
    expect(long).toEqual([]);
  });

  test(`has no table cell of more than ${CELL_CHARACTERS_MAX} characters in a document`, () => {
    const long = documents.flatMap((file) =>
      proseOf(readText(file))
        .cells.filter((cell) => cell.length > CELL_CHARACTERS_MAX)
        .map((cell) => `${file}: ${cell.length} characters: ${cell.slice(0, 80)}…`),
    );
    expect(long).toEqual([]);
  });
});
