/**
 * Settings of servers that answer thousands of small questions. Machine code for a query pays on millions of rows;
 * making it costs more than the queries of a test. Reading a file, or the index of a part, in threads of their own
 * takes a quarter of the server's CPU time if the tables are small; a query itself still runs on all cores.
 */
export const SMALL_TABLES = {
  compile_expressions: '0',
  compile_aggregate_expressions: '0',
  compile_sort_description: '0',
  local_filesystem_read_method: 'pread',
  max_threads_for_indexes: '1',
} as const;
