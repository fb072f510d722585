import { canonicalIp } from '@sockscope/schemas/net';

/** Names of `/etc/hosts`, in lower case, with their addresses in the file's order. */
export function parseHosts(text: string): Map<string, string[]> {
  const hosts = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address, ...names] = (line.split('#', 1)[0] ?? '').trim().split(/\s+/);
    const ip = canonicalIp(address ?? '');
    if (ip === null) continue;
    for (const name of names) {
      const key = name.toLowerCase();
      const known = hosts.get(key);
      if (known === undefined) hosts.set(key, [ip]);
      else if (!known.includes(ip)) known.push(ip);
    }
  }
  return hosts;
}

export interface SearchRules {
  readonly domains: readonly string[];
  /** A name with fewer dots is tried with the search domains first. */
  readonly ndots: number;
}

/** The limit of glibc for decades; more would only multiply the queries of a wrong name. */
const MAX_SEARCH_DOMAINS = 6;
const MAX_NDOTS = 15;

/** `search`, `domain` and `options ndots:` of `/etc/resolv.conf`; the last of each kind counts. */
export function parseSearchRules(text: string): SearchRules {
  let domains: string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...values] = (line.split(/[#;]/, 1)[0] ?? '').trim().split(/\s+/);
    if (keyword === 'search') domains = values;
    else if (keyword === 'domain') domains = values.slice(0, 1);
    else if (keyword === 'options') {
      for (const option of values) {
        const match = /^ndots:(\d+)$/.exec(option);
        if (match !== null) ndots = Math.min(Number(match[1]), MAX_NDOTS);
      }
    }
  }
  return {
    domains: domains
      .map((domain) => domain.replace(/\.$/, ''))
      .filter((domain) => domain !== '')
      .slice(0, MAX_SEARCH_DOMAINS),
    ndots,
  };
}

/** The names to ask for, in order, when a client asks for `name`. */
export function candidatesOf(name: string, rules: SearchRules): string[] {
  const searched = rules.domains.map((domain) => `${name}.${domain}`);
  const dots = name.split('.').length - 1;
  return dots >= rules.ndots ? [name, ...searched] : [...searched, name];
}
