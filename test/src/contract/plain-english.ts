/**
 * The table that the check of our prose reads: phrases that make a reader stop, and lengths. Each
 * phrase has a replacement. STYLE.md has the rules that no table can check.
 */

export interface Banned {
  readonly phrase: RegExp;
  readonly write: string;
}

/** Words in a sentence of a document. Inline code counts as one word. */
export const SENTENCE_WORDS_MAX = 25;
/** Six lines of about 100 characters. A list item is a paragraph. */
export const PARAGRAPH_CHARACTERS_MAX = 600;
export const CELL_CHARACTERS_MAX = 200;

/** Phrases that no document, comment, message or test name contains. The case counts only without `i`. */
export const BANNED: readonly Banned[] = [
  { phrase: /\banew\b/i, write: 'again, from scratch' },
  { phrase: /\bfor good\b/i, write: 'permanently' },
  { phrase: /\bas it comes\b/i, write: 'by default' },
  {
    phrase: /\bwhat (?:waits|is left|is missing|is told)\b/i,
    write: 'a noun: waiting events, the rest',
  },
  {
    phrase: /\b(?:that|those) of (?:the|a|an|its|all|each|whoever|others|ours|it)\b/i,
    write: 'the noun again',
  },
  {
    phrase:
      /\bwhere (?:it|they|there|one|that|this|no|the \w+) (?:is|are|has|have|had|does|do|was|were|may|can|could|cannot|lacks?|needs?)\b/i,
    write: 'if, when; or "the place where"',
  },
  {
    phrase: /\bwhere (?:none|nothing|needed|wanted|wished|possible)\b/i,
    write: 'if there is none, if needed',
  },
  {
    phrase: /\b(?:says?|said|tells?|told) (?:so|which|whether|how|why|when|where|what|who)\b/i,
    write: 'shows, names, reports, explains',
  },
  {
    phrase: /\bso many (?!\w+ that\b)/i,
    write: 'the number: a name, a parameter, "this number of"',
  },
  { phrase: /\b(?:is|are|was|were|be|been|being) told\b/i, write: 'gets, receives, sees, learns' },
  {
    phrase: /\b(?:says?|said|tells|told|to tell) (?:of|nothing|no|it|them|all)\b/i,
    write: 'shows, reports',
  },
  { phrase: /\b(?:null|false|true|undefined|-1|0|@throws \w+|Error) where\b/i, write: 'if' },
  {
    phrase:
      /\bwhat (?:is|was|are|were) (?:open|stored|read|held|asked|kept|sent|shown|gone|known|written|counted|refused|remembered|done|seen|summed|marked|masked|measured|committed|due)\b/i,
    write: 'a noun: open sessions, stored rows',
  },
  { phrase: /\bbut for (?:the|what|those|one|its)\b/i, write: 'except' },
  { phrase: /\bof itself\b/i, write: 'its own, about it' },
  { phrase: /\bnow and then\b/i, write: 'periodically' },
  { phrase: /\bin silence\b/i, write: 'silently, without a message' },
  { phrase: /\bto be had\b/i, write: 'available' },
  { phrase: /\bin place of\b/i, write: 'instead of' },
  { phrase: /\bwhoever\b/i, write: 'a subject: the client, the caller, you' },
  { phrase: /\bsome (?:\d|ten|twenty|thirty|fifty|hundred|thousand)/i, write: 'about' },
  { phrase: /\bfor want of\b/i, write: 'because … is missing' },
  { phrase: /\bwanting\b/i, write: 'missing' },
  { phrase: /\b(?:is|are|was|were) no events?\b/i, write: 'is not an event' },
  { phrase: /\b(?:gives?|given|gave|giving) back\b/i, write: 'return, release' },
  { phrase: /\band the like\b/i, write: 'the things themselves' },
  { phrase: /\bat the (?:most|least)\b/i, write: 'at most, at least' },
  { phrase: /\bfor so long\b/i, write: 'for this long, while' },
  { phrase: /\b(?:mend|mends|mended|mending)\b/i, write: 'repair' },
  { phrase: /\bl(?:et|ets|etting) go of\b/i, write: 'release' },
  { phrase: /\bknows? nothing of\b/i, write: 'does not know' },
  {
    phrase: /\bwhatever (?:the|a|is|it|its|was|comes|happens|time|order)\b/i,
    write: 'any, every, even if',
  },
  {
    phrase: /\bwhat (?:is wrong|one|there is|comes|lies|remains|fails)\b/i,
    write: 'a noun: the problem, the rest, the failure',
  },
  { phrase: /\bthe one before\b/i, write: 'the previous one' },
  {
    phrase:
      /\/\*\* (?:Of|By|As|At|In|On|For|From|To|Until|With|Without|Like|That|Those|What|Who|Whose|Whoever|Where)\b/,
    write: 'a verb or a noun first: "Returns …", "Bytes of …"',
  },
  { phrase: /\bnothing of\b/i, write: 'no part of, none of, nothing from' },
  { phrase: /\b(?:go|goes|going|went|gone) on\b/i, write: 'continue' },
  {
    phrase: /\b(?:to whom|whose it is|up to when|from when on)\b/i,
    write: 'the noun: an owner, a time',
  },
  {
    phrase: /\b(?:after|waits?|rested) so long\b|\bso often(?! that)\b/i,
    write: 'a duration, an interval',
  },
  { phrase: /\bas ever\b/i, write: 'as usual, as before' },
];

/**
 * Files that are not checked, by their beginnings. A migration that was applied must not change, not
 * even its comments, because `migrate` compares checksums. The check itself contains the phrases.
 */
export const UNCHECKED: readonly string[] = [
  'services/ingest/migrations/',
  'test/src/contract/plain-english',
];

/** Files that are not clean yet. Remove entries, never add any: an empty list is the goal. */
export const NOT_YET: readonly string[] = [];
