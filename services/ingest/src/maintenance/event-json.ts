/** Fields of an event as SQL over its JSON, which stands in the column `value`. */
export const time = (name: string) =>
  `parseDateTime64BestEffortOrNull(JSONExtract(value, '${name}', 'Nullable(String)'), 3, 'UTC')`;
export const text = (name: string) => `JSONExtractString(value, '${name}')`;
export const optional = (name: string) => `JSONExtract(value, '${name}', 'Nullable(String)')`;
export const count = (name: string) => `JSONExtractUInt(value, '${name}')`;
export const optionalCount = (name: string) => `JSONExtract(value, '${name}', 'Nullable(UInt64)')`;
export const flag = (name: string) => `JSONExtractBool(value, '${name}')`;
/** Addresses in the one form that an IPv6 column gives them. */
export const address = (name: string) => `toIPv6OrNull(${optional(name)})`;
