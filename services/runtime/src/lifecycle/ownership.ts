/** A file that names the owning process. A dead owner's is taken over. */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** The owner: the start time distinguishes a process from a later one with the same number. */
function selfMark(): string {
  return `${process.pid} ${startTimeOf(process.pid) ?? ''}`.trim();
}

/**
 * Clock ticks between the machine's start and the process's; null if the system does not report it.
 */
function startTimeOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the name in parentheses, which may hold anything; the start is field 22.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

function isAlive(mark: string): boolean {
  const [pidText = '', startTime] = mark.split(' ');
  const pid = Number(pidText);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  // If the system reports no start times, our own number belongs to a process before a reboot.
  if (pid === process.pid && startTime === undefined) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: another user's process, but a live one.
    if (!hasCode(error, 'EPERM')) return false;
  }
  const known = startTimeOf(pid);
  return startTime === undefined || known === null || known === startTime;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

let attempts = 0;

/**
 * Makes this process the owner that the file names. Processes of one machine (one PID namespace)
 * see each other; a folder that machines or containers share is not protected.
 *
 * @returns false if a living process owns it, this one included.
 */
export function takeOwnership(file: string): boolean {
  attempts += 1;
  const own = `${file}.${process.pid}.${attempts}`;
  // Written first and linked then, so that nobody sees an owner's file without its owner.
  writeFileSync(own, selfMark());
  try {
    // Twice: once more after a dead owner's mark was taken away.
    return link(own, file) || (removeDead(file, `${own}.dead`) && link(own, file));
  } finally {
    rmSync(own, { force: true });
  }
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  }
}

/** Whether the folder is free. If several processes find a dead owner, one wins the renaming. */
function removeDead(file: string, grave: string): boolean {
  const mark = readMark(file);
  if (mark === null) return true;
  if (isAlive(mark)) return false;
  try {
    renameSync(file, grave);
  } catch {
    return true;
  }
  const isSame = readMark(grave) === mark;
  // Another process was faster, and this is its mark.
  if (!isSame) link(grave, file);
  rmSync(grave, { force: true });
  return isSame;
}

export function releaseOwnership(file: string): void {
  rmSync(file, { force: true });
}

function readMark(file: string): string | null {
  try {
    return readFileSync(file, 'latin1').trim();
  } catch {
    return null;
  }
}
