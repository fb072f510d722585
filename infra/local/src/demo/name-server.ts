import { createSocket } from 'node:dgram';
import { once } from 'node:events';

const HEADER_BYTES = 12;
/** QR, RD and RA set; the name does not exist. */
const NXDOMAIN = 0x8183;

export interface NameServer {
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * Answers that no name exists. The proxy of the demo knows its names from a hosts file and asks here
 * for all others, so none of them leaves the machine.
 */
export async function startNameServer(): Promise<NameServer> {
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    if (query.length <= HEADER_BYTES) return;
    const answer = Buffer.from(query);
    answer.writeUInt16BE(NXDOMAIN, 2);
    // Additional records of the question are not returned.
    answer.writeUInt16BE(0, 10);
    socket.send(answer.subarray(0, endOfQuestion(query)), port, address);
  });
  socket.on('error', () => undefined);
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    address: `127.0.0.1:${String(socket.address().port)}`,
    async stop() {
      socket.close();
      await once(socket, 'close');
    },
  };
}

/** Behind the labels of the name, its type and its class. */
function endOfQuestion(query: Buffer): number {
  let at = HEADER_BYTES;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) at += length + 1;
  return Math.min(query.length, at + 5);
}
