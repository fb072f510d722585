import { z } from 'zod';

/**
 * Column types that cost little per row: pages of a thousand rows are validated by them. They rely
 * on ROW_SETTINGS. A 64-bit integer comes as a JSON number, and one beyond 2^53 does not pass as
 * an integer that is safe, or `JSON.parse` may have rounded it; a DateTime64(3) comes in the
 * very form of the API.
 */
export const int64 = z.int();
export const wireTime = z.string();

/** Integers unquoted, unlike the default of the client module. */
export const ROW_SETTINGS = { output_format_json_quote_64bit_integers: 0 } as const;
