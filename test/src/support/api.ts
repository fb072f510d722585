export interface ApiSession {
  readonly session_id: string;
  readonly started_at: string;
  readonly ended_at: string | null;
  readonly status: string;
  readonly close_reason: string | null;
  readonly error_code: string | null;
  readonly user: string;
  readonly source_ip: string;
  readonly source_port: number;
  readonly dest_host: string;
  readonly dest_ip: string | null;
  readonly dest_port: number;
  readonly acl_decision: string;
  readonly acl_rule_matched: string | null;
  readonly bytes_sent: number;
  readonly bytes_received: number;
}

/** GET on the API; an answer other than 200 is an error that shows it. */
export async function get<T>(api: string, path: string): Promise<T> {
  const response = await fetch(`${api}/api/v1/${path}`);
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

export async function getSessions(api: string, query = 'limit=500'): Promise<ApiSession[]> {
  return (await get<{ items: ApiSession[] }>(api, `sessions?${query}`)).items;
}

/** The sum of all series of a metric whose labels match. */
export async function metric(
  ops: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const response = await fetch(`${ops}/metrics`);
  const text = await response.text();
  const series = text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) =>
      Object.entries(labels).every(([label, value]) => line.includes(`${label}="${value}"`)),
    );
  // Nothing has been counted yet is 0; a name that is not even declared is a mistake.
  const declared = name.replace(/_(?:count|sum|bucket)$/, '');
  if (!text.includes(`# TYPE ${name} `) && !text.includes(`# TYPE ${declared} `)) {
    throw new Error(`no metric ${name}`);
  }
  return series.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}
