// One ClickHouse server, as a process of its own: loads the engine that the npm package `chdb`
// brings and runs a clickhouse-local command line in it, which listens and then blocks until
// standard input closes. Plain JavaScript, because src/ and dist/ start the same file.
import { libchdbPath } from 'chdb/libchdb';
import { DataType, load, open } from 'ffi-rs';

const argv = ['clickhouse', ...process.argv.slice(2)];
open({ library: 'chdb', path: libchdbPath() });
// ffi-rs calls on this thread's own stack. koffi brings a stack of its own, which the engine's
// stack check refuses.
load({
  library: 'chdb',
  funcName: 'chdb_query_cmdline',
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [argv.length, argv],
});
