import { connect } from 'node:net';

const API_VERSIONS_KEY = 18;
const CORRELATION_ID = 7;
const MAX_RESPONSE_BYTES = 64 * 1024;

/**
 * Asks a broker for its API versions (version 0 of the request, which every broker understands:
 * https://kafka.apache.org/protocol#The_Messages_ApiVersions). A KRaft broker answers it only once
 * it has caught up with the cluster's metadata and been let in. No client library, because each
 * refused attempt of one would be logged.
 *
 * @throws {Error} when there is no answer within `timeoutMs`, or a wrong one.
 */
export async function probeKafka(host: string, port: number, timeoutMs: number): Promise<void> {
  const clientId = Buffer.from('sockscope-probe');
  const body = Buffer.alloc(10 + clientId.length);
  body.writeInt16BE(API_VERSIONS_KEY, 0);
  body.writeInt16BE(0, 2);
  body.writeInt32BE(CORRELATION_ID, 4);
  body.writeInt16BE(clientId.length, 8);
  clientId.copy(body, 10);
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length, 0);

  const response = await exchange(host, port, Buffer.concat([size, body]), timeoutMs);
  if (response.readInt32BE(0) !== CORRELATION_ID || response.readInt16BE(4) !== 0) {
    throw new Error('it does not answer as Kafka does');
  }
}

/** Sends one request and resolves to the response without its length. */
async function exchange(
  host: string,
  port: number,
  request: Buffer,
  timeoutMs: number,
): Promise<Buffer> {
  const socket = connect({ host, port });
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      let received = Buffer.alloc(0);
      socket.setTimeout(timeoutMs, () => {
        reject(new Error('no answer'));
      });
      socket.once('error', reject);
      socket.once('close', () => {
        reject(new Error('the connection was closed'));
      });
      socket.once('connect', () => {
        socket.write(request);
      });
      socket.on('data', (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        if (received.length < 4) return;
        const length = received.readInt32BE(0);
        if (length < 6 || length > MAX_RESPONSE_BYTES) {
          reject(new Error('it does not answer as Kafka does'));
        } else if (received.length >= 4 + length) {
          resolve(received.subarray(4, 4 + length));
        }
      });
    });
  } finally {
    socket.destroy();
  }
}
