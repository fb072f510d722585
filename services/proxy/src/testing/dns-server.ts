import { createSocket } from 'node:dgram';
import { isIPv4 } from 'node:net';
import { parseIp } from '@sockscope/schemas/net';

/** The server's answer for a name: addresses, an error code of DNS (RFC 1035, RCODE), or silence. */
export type DnsRecord =
  | {
      readonly addresses: readonly string[];
      readonly ttl_s?: number;
      readonly delay_ms?: number;
      /** Questions are answered once this has resolved. */
      readonly after?: Promise<void>;
      /** Questions of this type get lost. */
      readonly silent_for?: 'A' | 'AAAA';
    }
  | { readonly rcode: number }
  | 'silent';

export interface DnsServer {
  /** Address for a setting: `address:port`. */
  readonly address: string;
  /** The questions asked, such as `a.example A`. */
  readonly questions: readonly string[];
  /** @param name or `*.` and a domain, for all names right below it that are not set. */
  set(name: string, record: DnsRecord): void;
  stop(): Promise<void>;
}

const TYPE = { A: 1, AAAA: 28 } as const;
const NAME_ERROR = 3;

/** A name server for tests, which speaks as much of RFC 1035 as a resolver asks for. */
export async function startDnsServer(): Promise<DnsServer> {
  const records = new Map<string, DnsRecord>();
  const questions: string[] = [];
  const timers = new Set<NodeJS.Timeout>();
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    const { name, end } = readName(query);
    const type = query.readUInt16BE(end);
    questions.push(`${name} ${type === TYPE.A ? 'A' : type === TYPE.AAAA ? 'AAAA' : type}`);
    const wildcard = `*${name.slice(name.indexOf('.'))}`;
    const record = records.get(name) ?? records.get(wildcard) ?? { rcode: NAME_ERROR };
    if (record === 'silent') return;
    if ('addresses' in record && record.silent_for !== undefined) {
      if (TYPE[record.silent_for] === type) return;
    }
    const reply = (): void => {
      socket.send(answerTo(query, end, type, record), from.port, from.address);
    };
    const delayMs = 'addresses' in record ? (record.delay_ms ?? 0) : 0;
    if ('addresses' in record && record.after !== undefined) void record.after.then(reply);
    else if (delayMs === 0) reply();
    else timers.add(setTimeout(reply, delayMs));
  });
  await new Promise<void>((resolve) => {
    socket.bind(0, '127.0.0.1', resolve);
  });
  return {
    address: `127.0.0.1:${socket.address().port}`,
    questions,
    set(name, record) {
      records.set(name, record);
    },
    stop: () =>
      new Promise((resolve) => {
        for (const timer of timers) clearTimeout(timer);
        socket.close(() => {
          resolve();
        });
      }),
  };
}

/** The name in a query's question, in lower case, and the offset behind it. */
function readName(query: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
}

function answerTo(
  query: Buffer,
  nameEnd: number,
  type: number,
  record: Exclude<DnsRecord, 'silent'>,
): Buffer {
  const addresses = 'addresses' in record ? record.addresses : [];
  const wanted = addresses.filter((ip) => isIPv4(ip) === (type === TYPE.A));
  const head = Buffer.from(query.subarray(0, nameEnd + 4));
  head[2] = 0x81;
  head[3] = 0x80 | ('rcode' in record ? record.rcode : 0);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(wanted.length, 6);
  head.writeUInt32BE(0, 8);
  const answers = wanted.map((ip) => {
    const words = parseIp(ip)?.words ?? [];
    const bytes = Buffer.alloc(12 + words.length * 4);
    // A pointer to the name in the question.
    bytes.writeUInt16BE(0xc00c, 0);
    bytes.writeUInt16BE(type, 2);
    bytes.writeUInt16BE(1, 4);
    bytes.writeUInt32BE('addresses' in record ? (record.ttl_s ?? 60) : 0, 6);
    bytes.writeUInt16BE(words.length * 4, 10);
    for (const [index, word] of words.entries()) bytes.writeUInt32BE(word, 12 + index * 4);
    return bytes;
  });
  return Buffer.concat([head, ...answers]);
}
