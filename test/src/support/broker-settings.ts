import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';

/** Settings of a broker that kafkajs cannot make. */
const ALTER_CLIENT_QUOTAS = 49;
const ALTER_USER_SCRAM_CREDENTIALS = 51;
const MECHANISMS = {
  'scram-sha-256': [1, 'sha256', 32],
  'scram-sha-512': [2, 'sha512', 64],
} as const;
const ITERATIONS = 4_096;

/** Bytes of a compact type: their number and one as a varint (all are short here), then they themselves. */
function compact(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.of(bytes.length + 1), bytes]);
}

/** Sends one request and resolves with its answer, from the length on. */
async function ask(broker: string, body: Buffer): Promise<Buffer> {
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length);
  const [host, port] = broker.split(':');
  const socket = connect(Number(port), host);
  socket.write(Buffer.concat([size, body]));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer;
}

function text(value: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeInt16BE(value.length);
  return Buffer.concat([length, Buffer.from(value)]);
}

/** Limits a user (https://kafka.apache.org/protocol#The_Messages_AlterClientQuotas). */
export async function setQuota(
  broker: string,
  user: string,
  key: string,
  value: number,
): Promise<void> {
  const one = Buffer.from([0, 0, 0, 1]);
  const rate = Buffer.alloc(8);
  rate.writeDoubleBE(value);
  const body = Buffer.concat([
    Buffer.from([0, ALTER_CLIENT_QUOTAS, 0, 0, 0, 0, 0, 1, 0xff, 0xff]),
    // One entry for one entity with one change, which removes nothing; not only validated.
    one,
    one,
    text('user'),
    text(user),
    one,
    text(key),
    rate,
    Buffer.of(0, 0),
  ]);
  const answer = await ask(broker, body);
  // Length, correlation, throttle time, number of entries, the error.
  const code = answer.readInt16BE(4 + 4 + 4 + 4);
  if (code !== 0) throw new Error(`the broker refuses the quota: error ${code}`);
}

/**
 * Sets a user's SCRAM password, which kafkajs cannot
 * (https://kafka.apache.org/protocol#The_Messages_AlterUserScramCredentials).
 */
export async function setScramPassword(
  broker: string,
  user: string,
  password: string,
  mechanism: keyof typeof MECHANISMS,
): Promise<void> {
  const [number, digest, length] = MECHANISMS[mechanism];
  const salt = randomBytes(24);
  const salted = pbkdf2Sync(password, salt, ITERATIONS, length, digest);
  const iterations = Buffer.alloc(4);
  iterations.writeInt32BE(ITERATIONS);
  const head = Buffer.from([0, ALTER_USER_SCRAM_CREDENTIALS, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0]);
  const body = Buffer.concat([
    head,
    // No deletions, one upsertion.
    Buffer.of(1, 2),
    compact(Buffer.from(user)),
    Buffer.of(number),
    iterations,
    compact(salt),
    compact(salted),
    Buffer.of(0, 0),
  ]);
  const answer = await ask(broker, body);
  // Length, correlation, tags, throttle time, number of results, the user, the error.
  const code = answer.readInt16BE(4 + 4 + 1 + 4 + 1 + 1 + user.length);
  if (code !== 0) throw new Error(`the broker refuses the password: error ${code}`);
}
