import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { SockscopeError } from '@sockscope/runtime';

/** Parameters of scrypt (RFC 7914): cost 2^ln, block size r, parallelism p. */
export interface ScryptCost {
  readonly ln: number;
  readonly r: number;
  readonly p: number;
}

export interface PasswordHash {
  readonly cost: ScryptCost;
  readonly salt: Buffer;
  readonly key: Buffer;
}

/** OWASP's choice for 32 MiB of memory: about 0.3 s of one core. */
export const DEFAULT_COST: ScryptCost = { ln: 15, r: 8, p: 3 };

/** Bounds of a file's parameters, so that a typing error cannot take the machine's memory. */
const COST_LIMITS = { ln: [1, 20], r: [1, 32], p: [1, 16] } as const;
const MEMORY_MAX_BYTES = 256 * 1024 * 1024;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const PHC =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,88})\$([A-Za-z0-9+/]{22,88})$/;

function memoryBytes({ ln, r, p }: ScryptCost): number {
  return 128 * r * (2 ** ln + p);
}

/** A hash in PHC string format: `$scrypt$ln=15,r=8,p=3$salt$key`, base64 without padding. */
export function formatHash({ cost, salt, key }: PasswordHash): string {
  const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');
  return `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${base64(salt)}$${base64(key)}`;
}

/** Reads a hash, or returns a sentence that explains why it is invalid. Never repeats it: it is a secret. */
export function parseHash(text: string): PasswordHash | string {
  const match = PHC.exec(text);
  if (match === null) {
    return 'must be a hash such as $scrypt$ln=15,r=8,p=3$…$…; "proxy users add" makes one';
  }
  const [, ln = '', r = '', p = '', salt = '', key = ''] = match;
  const cost = { ln: Number(ln), r: Number(r), p: Number(p) };
  for (const name of ['ln', 'r', 'p'] as const) {
    const [min, max] = COST_LIMITS[name];
    if (cost[name] < min || cost[name] > max) return `${name} must be ${min} to ${max}`;
  }
  if (memoryBytes(cost) > MEMORY_MAX_BYTES) return 'its parameters need more than 256 MiB';
  return { cost, salt: Buffer.from(salt, 'base64'), key: Buffer.from(key, 'base64') };
}

function derive(password: Buffer, salt: Buffer, bytes: number, cost: ScryptCost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { N: 2 ** cost.ln, r: cost.r, p: cost.p, maxmem: 2 * memoryBytes(cost) };
    scrypt(password, salt, bytes, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(new SockscopeError('scrypt_failed', 'scrypt failed', { cause: error }));
    });
  });
}

export async function hashPassword(password: Buffer, cost: ScryptCost): Promise<PasswordHash> {
  const salt = randomBytes(SALT_BYTES);
  return { cost, salt, key: await derive(password, salt, KEY_BYTES, cost) };
}

/** Compares in constant time; costs as much as the hash's parameters demand, on libuv's thread pool. */
export async function passwordMatches(password: Buffer, hash: PasswordHash): Promise<boolean> {
  const key = await derive(password, hash.salt, hash.key.length, hash.cost);
  return timingSafeEqual(key, hash.key);
}
