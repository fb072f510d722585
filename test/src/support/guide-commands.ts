/** The commands of the guides. */
import { readText, repositoryFiles } from '../contract/repository.js';

export interface GuideCommand {
  readonly file: string;
  /** Number of its first line, from 1. */
  readonly line: number;
  /** Continued lines joined, without the comment behind it. */
  readonly text: string;
  /** Its block begins with three backticks and `sh checked`: no test runs it. */
  readonly isOnlyChecked: boolean;
}

const BLOCK = /^( *)```sh( checked)?\n([\s\S]*?)^\1```$/gm;
/** Two spaces or more distinguish a comment from a `#` in an address. */
const COMMENT = /(?:^|\s{2,})#.*$/;

/** Returns the commands of all guides, in their order. */
export function guideCommands(): GuideCommand[] {
  return repositoryFiles('*.md', '**/*.md')
    .filter((file) => file !== 'CHANGELOG.md')
    .flatMap(commandsOf);
}

function commandsOf(file: string): GuideCommand[] {
  const text = readText(file);
  return [...text.matchAll(BLOCK)].flatMap(([block, , mark, body = '']) => {
    const firstLine = text.slice(0, text.indexOf(block)).split('\n').length + 1;
    const found: GuideCommand[] = [];
    let begun: { line: number; text: string } | null = null;
    for (const [index, line] of body.split('\n').entries()) {
      const plain: string = line.replace(COMMENT, '').trim();
      const whole: string = begun === null ? plain : `${begun.text} ${plain}`;
      const startLine: number = begun?.line ?? firstLine + index;
      begun = null;
      if (whole.endsWith('\\')) {
        begun = { line: startLine, text: whole.slice(0, -1).trim() };
      } else if (whole !== '') {
        found.push({ file, line: startLine, text: whole, isOnlyChecked: mark !== undefined });
      }
    }
    return found;
  });
}

/**
 * Splits as a shell does, as far as the guides need it: quotes, and the operators between commands.
 *
 * @returns the words of each command of a line; settings before a command are left out.
 */
export function shellCommands(text: string): string[][] {
  const commands: string[][] = [[]];
  let isFile = false;
  for (const [, space, operator, word = ''] of text.matchAll(
    /(\s+)|(\|\|?|&&?|;|\d?[<>]+)|((?:'[^']*'|"[^"]*"|[^\s|&;<>'"])+)/g,
  )) {
    if (space !== undefined) continue;
    if (operator !== undefined) {
      isFile = /[<>]/.test(operator);
      if (!isFile) commands.push([]);
    } else if (isFile) isFile = false;
    else commands.at(-1)?.push(word.replace(/'([^']*)'|"([^"]*)"/g, '$1$2'));
  }
  return commands
    .map((words) => {
      const first = words.findIndex((each) => !/^[A-Z_]+=/.test(each));
      return first === -1 ? [] : words.slice(first);
    })
    .filter((words) => words.length > 0);
}
