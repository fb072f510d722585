import { expect, test } from 'vitest';
import { kafkaProperties } from './properties.js';

const node = (nodeId: number) => ({ nodeId, port: 1000 + nodeId, controllerPort: 2000 + nodeId });

function parse(text: string): Map<string, string> {
  return new Map(
    text
      .trim()
      .split('\n')
      .map((line) => {
        const at = line.indexOf('=');
        return [line.slice(0, at), line.slice(at + 1)];
      }),
  );
}

test('a single node has a replication factor of 1', () => {
  const properties = parse(
    kafkaProperties({ node: node(1), cluster: [node(1)], logDir: '/d', overrides: {} }),
  );
  expect(properties.get('default.replication.factor')).toBe('1');
  expect(properties.get('min.insync.replicas')).toBe('1');
  expect(properties.get('controller.quorum.voters')).toBe('1@127.0.0.1:2001');
});

test('three nodes keep every message on two of them at least', () => {
  const cluster = [node(1), node(2), node(3)];
  const properties = parse(
    kafkaProperties({ node: node(2), cluster, logDir: '/d', overrides: {} }),
  );
  expect(properties.get('node.id')).toBe('2');
  expect(properties.get('default.replication.factor')).toBe('3');
  expect(properties.get('min.insync.replicas')).toBe('2');
  expect(properties.get('listeners')).toBe(
    'PLAINTEXT://127.0.0.1:1002,CONTROLLER://127.0.0.1:2002',
  );
});

test('an override replaces a property and cannot add a line', () => {
  const properties = parse(
    kafkaProperties({
      node: node(1),
      cluster: [node(1)],
      logDir: '/d',
      overrides: { 'log.dirs': 'C:\\x\nnode.id=9' },
    }),
  );
  expect(properties.get('log.dirs')).toBe('C:\\\\x\\nnode.id=9');
  expect(properties.get('node.id')).toBe('1');
});
