/** Reads one metric of a service that a benchmark runs. */

/**
 * The sum of a metric over its labels.
 *
 * @param label a part of the labels, such as `table="sessions"`; empty for all
 * @returns null if the service does not answer or has no such metric
 */
export async function readMetric(port: number, name: string, label = ''): Promise<number | null> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => null);
  if (response === null) return null;
  const lines = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => line.includes(label));
  return lines.length === 0
    ? null
    : lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
