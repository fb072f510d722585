import { readdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';

/** Resident kilobytes of one process. */
function residentKb(pid: number): number {
  if (process.platform === 'linux') {
    const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(match?.[1] ?? 0);
  }
  return Number(spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).stdout);
}

function childrenOf(pid: number): number[] {
  if (process.platform !== 'linux') return [];
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')
      .split(' ')
      .filter(Boolean)
      .map(Number),
  );
}

/** Processes and all that they started. */
function treeOf(pids: readonly number[]): number[] {
  const tree: number[] = [];
  const waiting = [...pids];
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    tree.push(pid);
    waiting.push(...childrenOf(pid));
  }
  return tree;
}

/** Resident kilobytes of processes and all that they started. Pages that they share count once each. */
export function treeResidentKb(pids: readonly number[]): number {
  return treeOf(pids).reduce((sum, pid) => sum + residentKb(pid), 0);
}

/** Ticks of /proc/PID/stat in a second: USER_HZ, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Processor seconds that processes and all that they started have used; null if it is unknown. */
export function treeCpuSeconds(pids: readonly number[]): number | null {
  if (process.platform !== 'linux' || pids.length === 0) return null;
  let ticks = 0;
  for (const pid of treeOf(pids)) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Its own, and its ended children's: some proxies start one per client.
    for (const field of fields.slice(11, 15)) ticks += Number(field);
  }
  return ticks / TICKS_PER_SECOND;
}
