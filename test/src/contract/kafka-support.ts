import { API_NEEDS, BROKERS, lackOfBroker } from '@sockscope/runtime/kafka';

const range = ([min, max]: readonly [number, number]): string =>
  min === max ? `${min}` : `${min} to ${max}`;

/** The text of docs/reference/kafka-support.md. */
export function kafkaSupport(): string {
  const brokers = BROKERS.map((broker) => {
    const lack = lackOfBroker(broker);
    const basis = broker.basis === 'tried' ? 'tried' : 'read, not tried';
    const cells = [
      broker.name,
      lack === null ? 'yes' : `no: ${lack}`,
      basis,
      range(broker.produce),
      range(broker.fetch),
      broker.note,
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const needs = API_NEEDS.map(
    ({ api, versions, uses }) => `| ${api} | ${range(versions)} | ${uses.join(', ')} |`,
  );
  return `# Supported brokers

Generated from the table that every client compares with a broker's answer when it connects; \`npm run generate\` makes it, and a test keeps it current. A broker that lacks something is refused with a sentence (\`kafka_unsupported\`) before anything else is sent to it.

"Tried" means that a test runs against it. "Read, not tried" follows from the versions that its documentation names. For Amazon MSK and Confluent Cloud the version of Apache Kafka decides.

| broker | works | basis | Produce | Fetch | |
|---|---|---|---|---|---|
${brokers.join('\n')}

## Versions of requests that are needed

Produce and Fetch are encoded and decoded by Sockscope itself, each in one version. Of the others any version in the range will do.

| request | versions | used for |
|---|---|---|
${needs.join('\n')}
`;
}
