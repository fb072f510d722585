import { createProgram } from '@sockscope/runtime';
import { proxyConfig } from './config.js';
import { runProxy } from './run.js';

await createProgram({
  name: 'sockscope-proxy',
  description: 'A SOCKS5 proxy that records every connection.',
  schema: proxyConfig,
  run: runProxy,
}).main();
