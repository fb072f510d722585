export interface KafkaNodeAddress {
  readonly nodeId: number;
  readonly port: number;
  readonly controllerPort: number;
}

/**
 * The properties of one KRaft node that is broker and controller at once. Everything listens on
 * 127.0.0.1 only. `overrides` are for tests: security, limits.
 */
export function kafkaProperties(options: {
  readonly node: KafkaNodeAddress;
  readonly cluster: readonly KafkaNodeAddress[];
  readonly logDir: string;
  readonly overrides: Readonly<Record<string, string>>;
}): string {
  const { node, cluster } = options;
  const replicas = String(Math.min(3, cluster.length));
  const minIsr = String(Math.max(1, Math.min(3, cluster.length) - 1));
  const properties: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': String(node.nodeId),
    'controller.quorum.voters': cluster
      .map((each) => `${String(each.nodeId)}@127.0.0.1:${String(each.controllerPort)}`)
      .join(','),
    listeners: `PLAINTEXT://127.0.0.1:${String(node.port)},CONTROLLER://127.0.0.1:${String(node.controllerPort)}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${String(node.port)}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': options.logDir,
    'auto.create.topics.enable': 'false',
    'default.replication.factor': replicas,
    'min.insync.replicas': minIsr,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': minIsr,
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': minIsr,
    'group.initial.rebalance.delay.ms': '0',
    // After kill -9 a broker waits until its own old registration has expired: 4 s instead of 12.
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '500',
    ...options.overrides,
  };
  return `${Object.entries(properties)
    .map(([name, value]) => `${name}=${escapeProperty(value)}`)
    .join('\n')}\n`;
}

/** Java reads properties files with backslash as the escape character. */
function escapeProperty(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
