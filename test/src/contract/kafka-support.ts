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

\`npm run generate\` makes this page from the table that every client checks when it connects. A client refuses a broker that lacks something (\`kafka_unsupported\`) before it sends anything else.

"Tried" means that a test runs against it. "Read, not tried" follows from the versions in its documentation. For Amazon MSK and Confluent Cloud, the version of Apache Kafka decides.

| broker | works | basis | Produce | Fetch | |
|---|---|---|---|---|---|
${brokers.join('\n')}

## Needed versions of requests

Sockscope encodes and decodes Produce and Fetch itself, each in one version. Of the others, any version in the range is enough.

| request | versions | used for |
|---|---|---|
${needs.join('\n')}
`;
}
