/** CRC-32C (Castagnoli), as record batches carry it. Eight bytes at a time, by eight tables. */
const POLYNOMIAL = 0x82f63b78;
const TABLES = buildTables();

function buildTables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    tables[byte] = crc;
  }
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = tables[byte] ?? 0;
    for (let table = 1; table < 8; table += 1) {
      crc = (tables[crc & 255] ?? 0) ^ (crc >>> 8);
      tables[table * 256 + byte] = crc;
    }
  }
  return tables;
}

/** The checksum of these bytes, unsigned. */
export function crc32c(bytes: Uint8Array): number {
  const t = TABLES;
  const end = bytes.length;
  const lastOfEight = end - 7;
  let crc = -1;
  let i = 0;
  // Reads lie within both arrays, so none is undefined; `| 0` satisfies the type checker at no
  // cost.
  for (; i < lastOfEight; i += 8) {
    const a =
      crc ^
      ((bytes[i] as number) |
        ((bytes[i + 1] as number) << 8) |
        ((bytes[i + 2] as number) << 16) |
        ((bytes[i + 3] as number) << 24));
    crc =
      (t[0x700 | (a & 255)] as number) ^
      (t[0x600 | ((a >>> 8) & 255)] as number) ^
      (t[0x500 | ((a >>> 16) & 255)] as number) ^
      (t[0x400 | (a >>> 24)] as number) ^
      (t[0x300 | (bytes[i + 4] as number)] as number) ^
      (t[0x200 | (bytes[i + 5] as number)] as number) ^
      (t[0x100 | (bytes[i + 6] as number)] as number) ^
      (t[bytes[i + 7] as number] as number);
  }
  for (; i < end; i += 1) crc = (t[(crc ^ (bytes[i] as number)) & 255] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}
