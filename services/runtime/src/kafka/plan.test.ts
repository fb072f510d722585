import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { planAsStrimzi, planOf } from './plan.js';

interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
  readonly spec: Record<string, unknown>;
}

describe('the plan for Strimzi', () => {
  it('is YAML documents: a KafkaTopic for each topic and a KafkaUser for each user', () => {
    const plan = planOf({
      topic: 'Session_events',
      dlqTopic: 'Session_events.dlq',
      dlqPartitions: 1,
      dlqReplicationFactor: 3,
      group: 'ingest',
      partitions: 12,
      replicationFactor: 3,
      retentionMs: null,
    });
    const documents = parseAllDocuments(planAsStrimzi(plan, 'main'));
    expect(documents.flatMap((each) => each.errors)).toEqual([]);
    const resources = documents.map((each) => each.toJS() as Resource);
    expect(resources.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'KafkaTopic session-events',
      'KafkaTopic session-events.dlq',
      'KafkaUser sockscope-proxy',
      'KafkaUser sockscope-ingest',
      'KafkaUser sockscope-commands',
    ]);
    for (const { metadata } of resources) {
      expect(metadata.labels).toEqual({ 'strimzi.io/cluster': 'main' });
    }
    expect(resources[0]?.spec).toMatchObject({
      topicName: 'Session_events',
      partitions: 12,
      replicas: 3,
    });
    expect(resources[2]?.spec).toMatchObject({
      authorization: {
        type: 'simple',
        acls: [
          {
            resource: { type: 'topic', name: 'Session_events', patternType: 'literal' },
            operations: ['Write', 'DescribeConfigs'],
          },
        ],
      },
    });
  });
});
