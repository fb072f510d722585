/**
 * The attackers, in a process of their own: their cost must not delay the measured clients, which
 * behave. Started by `flood` with an `Attack` as its argument; sends a message when it begins,
 * and answers each one with the number of attempts so far.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Attack } from './load.js';
import { SocksClient } from './socks-client.js';

/** Attempts of a lane begin at most this often. */
const LANE_INTERVAL_MS = 1_000;
/** How long an attacker waits for an answer. */
const PATIENCE_MS = 5_000;
const NETWORK = '2001:db8:bad';
const NETWORK_SIZE = 250;

const attack = JSON.parse(process.argv[2] ?? '') as Attack;
const payload = Buffer.alloc(attack.payloadBytes ?? 0);

/** IPv6 /64s of one /48; where IPv4 takes part, every other attempt has one of 30 addresses. */
function source(n: number): string {
  return attack.isOneNetwork !== true && n % 2 === 0
    ? `127.9.0.${1 + ((n / 2) % 30)}`
    : `${NETWORK}:${(n % NETWORK_SIZE).toString(16)}::1`;
}

async function attempt(n: number): Promise<void> {
  const client = new SocksClient(attack.proxyPort, source(n), attack.patienceMs ?? PATIENCE_MS);
  try {
    if (attack.kind === 'silence') await client.read(1);
    else if (attack.kind === 'login') await client.login(`nobody${n}`, 'wrong');
    else {
      const host = attack.hosts[n % attack.hosts.length] ?? '';
      const reply = client.connect(host.replace('{n}', String(n)), attack.port);
      client.socket.write(payload);
      await reply;
    }
  } finally {
    client.destroy();
  }
}

let attempts = 0;

async function lane(index: number): Promise<void> {
  // Spread over the interval: the flood has a rate, and is no burst once a second.
  await delay((index / attack.lanes) * LANE_INTERVAL_MS);
  while (attempts < attack.limit) {
    attempts += 1;
    const earliest = delay(LANE_INTERVAL_MS);
    await attempt(attempts).catch(() => undefined);
    await earliest;
  }
}

process.on('message', () => process.send?.(attempts));
process.on('disconnect', () => {
  process.exit();
});
process.send?.(attempts);
for (let index = 0; index < attack.lanes; index += 1) void lane(index);
