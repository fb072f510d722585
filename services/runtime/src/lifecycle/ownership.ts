/** A file that names the owning process. A dead owner's is taken over. */
import { linkSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';

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

/** @param file that has the mark. */
function isAlive(mark: string, file: string): boolean {
  const [pidText = '', startTime] = mark.split(' ');
  const pid = Number(pidText);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  // If the system reports no start times, our own number belongs to a process before a reboot.
  if (pid === process.pid && startTime === undefined) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: another user's process, but a live one. It did not write a mark of ours: the number is in use again,
    // and its start time may be hidden from us (ProtectProc=invisible).
    if (!hasCode(error, 'EPERM') || isOurs(file)) return false;
  }
  const known = startTimeOf(pid);
  return startTime === undefined || known === null || known === startTime;
}

function isOurs(file: string): boolean {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat !== undefined && stat.uid === process.geteuid?.();
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

let attempts = 0;

/**
 * Makes this process the owner that the file names. Processes of one machine (one PID namespace)
 * see each other; a folder that machines or containers share is not protected.
 *
 * @returns false if a living process owns it, this one included, or just takes it over.
 */
export function takeOwnership(file: string): boolean {
  attempts += 1;
  const own = `${file}.${process.pid}.${attempts}`;
  // Written first and linked then, so that nobody sees an owner's file without its owner.
  writeFileSync(own, selfMark());
  try {
    return link(own, file) || replaceDead(file, own);
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

/** Puts an own mark in the place of a dead owner's. Only the one heir may do so, so no living owner loses its mark. */
function replaceDead(file: string, own: string): boolean {
  const mark = readMark(file);
  if (mark === null) return link(own, file);
  if (isAlive(mark, file)) return false;
  const heir = `${file}.heir`;
  if (!link(own, heir)) {
    // An heir that died too makes way for the next attempt.
    if (!isAlive(readMark(heir) ?? selfMark(), heir)) rmSync(heir, { force: true });
    return false;
  }
  const isSame = readMark(file) === mark;
  if (isSame) renameSync(own, file);
  rmSync(heir);
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
