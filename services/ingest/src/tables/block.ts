/** Rows of one table, encoded once: a retry sends the same bytes. */
export interface TableBlock {
  readonly table: string;
  readonly columns: readonly string[];
  readonly format: 'Native' | 'JSONCompactEachRow';
  readonly bytes: readonly Uint8Array[];
  readonly rows: number;
  /**
   * The same rows as two blocks, if there are at least two rows and the encoding can split them.
   */
  halves?(): readonly [TableBlock, TableBlock];
}
