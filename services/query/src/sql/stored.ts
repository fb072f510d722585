import { z } from 'zod';

declare const hidden: unique symbol;

/**
 * A user or an address as it is stored. To the compiler it is no text, so that an answer that shows it
 * without asking the mask does not compile; see mask/presenter.ts. At run time it is the text itself.
 */
export interface Stored {
  readonly [hidden]: true;
}

/** The column type of values that are stored as this text. */
export function stored(column: z.ZodType<string>): z.ZodType<Stored> {
  return column as unknown as z.ZodType<Stored>;
}

export const storedText = stored(z.string());

/** The text itself: to compare, to sort and to ask with, never to answer with. */
export function plainOf(text: Stored): string {
  return text as unknown as string;
}

/** A text that is known to be a stored value. */
export function asStored(text: string): Stored {
  return text as unknown as Stored;
}
