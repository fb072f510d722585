// Run by the newest Node: produces with every compression that it has, through our producer, and reads
// the records of a topic through a client that shares no code with ours. Prints one JSON object a line.
//
//   node independent.mjs produce <broker> <topic> <compression>
//   node independent.mjs read <broker> <topic> <records>
import { randomUUID } from 'node:crypto';

const [how, broker, topic, what] = process.argv.slice(2);

if (how === 'produce') {
  const { createKafkaProducer, kafkaConfig } =
    await import('../../services/runtime/dist/kafka/exports.js');
  const config = kafkaConfig.parse({ brokers: [broker], topic, compression: what });
  const producer = createKafkaProducer(config, { logger: { debug() {} }, role: 'test' });
  const records = Array.from({ length: 500 }, (_, i) => ({
    key: `key ${i % 50}`,
    value: `${what} ${i} ${'ünïcödé '.repeat(i % 20)}`,
    headers: { codec: what, number: String(i) },
  }));
  await producer.send(topic, records, AbortSignal.timeout(30_000));
  producer.stop();
  for (const { key, value, headers } of records) {
    console.log(JSON.stringify([key, value, headers.codec, headers.number]));
  }
} else {
  const { Consumer } = await import('@platformatic/kafka');
  const consumer = new Consumer({
    groupId: randomUUID(),
    clientId: 'independent',
    bootstrapBrokers: [broker],
  });
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false });
  /** @type {string[]} */
  const lines = [];
  for await (const { key, value, headers } of stream) {
    const header = (name) => String(headers.get(Buffer.from(name)) ?? find(headers, name));
    lines.push(JSON.stringify([String(key), String(value), header('codec'), header('number')]));
    if (lines.length === Number(what)) break;
  }
  consumer.close(true);
  // The client keeps the process alive. An exit before the reader has everything would cut the output.
  process.stdout.write(`${lines.join('\n')}\n`, () => process.exit(0));
}

/** Names of headers are buffers, and a map compares those by identity. */
function find(headers, name) {
  for (const [key, value] of headers) if (String(key) === name) return value;
  return null;
}
