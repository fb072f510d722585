import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { kafkaConfig } from './config.js';
import { mskToken } from './credentials.js';
import { tokenOf } from './oauth.js';

const LIFE_SECONDS = 100;
const requests: { authorization: string | undefined; form: string }[] = [];
const server = createServer((request, response) => {
  void text(request).then((form) => {
    requests.push({ authorization: request.headers.authorization, form });
    response.end(
      JSON.stringify({ access_token: `token ${requests.length}`, expires_in: LIFE_SECONDS }),
    );
  });
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.close();
});

it('a token is requested by RFC 6749, shared while it is valid, and replaced before it ends', async () => {
  const { port } = server.address() as AddressInfo;
  const config = kafkaConfig.parse({
    sasl_mechanism: 'oauthbearer',
    oauth_token_url: `http://127.0.0.1:${port}/token`,
    oauth_client_id: 'a:b',
    oauth_client_secret: 'c%d',
    oauth_scope: 'kafka write',
  });
  const startMs = 1_000_000;
  const at = (seconds: number) => tokenOf(config, () => startMs + seconds * 1_000);
  const together = await Promise.all([at(0), at(0), at(0)]);
  expect(together.map(({ value }) => value)).toEqual(['token 1', 'token 1', 'token 1']);
  expect((await at(LIFE_SECONDS * 0.75)).value).toBe('token 1');
  expect((await at(LIFE_SECONDS * 0.85)).value).toBe('token 2');
  expect(requests).toHaveLength(2);
  expect(requests[0]).toEqual({
    authorization: `Basic ${Buffer.from('a%3Ab:c%25d').toString('base64')}`,
    form: 'grant_type=client_credentials&scope=kafka+write',
  });
});

it('a missing signer for Amazon MSK is named with the command that installs it', async () => {
  const missing = () => Promise.reject(new Error('not found'));
  await expect(mskToken('eu-central-1', missing)).rejects.toThrow(
    'npm install aws-msk-iam-sasl-signer-js',
  );
  const signer = {
    generateAuthToken: ({ region }: { region: string }) =>
      Promise.resolve({ token: `signed for ${region}` }),
  };
  await expect(mskToken('eu-central-1', () => Promise.resolve(signer))).resolves.toBe(
    'signed for eu-central-1',
  );
});

it('a token for Amazon MSK is a signed request to connect, which expires', async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDEXAMPLE');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
  vi.stubEnv('AWS_SESSION_TOKEN', '');
  const token = await mskToken('eu-central-1', () => import('aws-msk-iam-sasl-signer-js'));
  vi.unstubAllEnvs();
  const url = new URL(Buffer.from(token, 'base64url').toString());
  expect(url.hostname).toBe('kafka.eu-central-1.amazonaws.com');
  const fields = Object.fromEntries(url.searchParams);
  expect(fields).toMatchObject({
    Action: 'kafka-cluster:Connect',
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Expires': '900',
  });
  expect(fields['X-Amz-Credential']).toMatch(/^AKIDEXAMPLE\/\d{8}\/eu-central-1\/kafka-cluster\//);
  expect(fields['X-Amz-Signature']).toMatch(/^[0-9a-f]{64}$/);
});
