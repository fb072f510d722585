import { spawn } from 'node:child_process';
import { Socket } from 'node:net';

/**
 * Waits until its standard input closes, which happens when this process ends in any way;
 * then gives the guarded process $2 seconds, asks it to end, and after ten more kills it.
 */
const SCRIPT = `
while read -r _; do :; done
wait_for() {
  n="$1"
  while [ "$n" -gt 0 ] && kill -0 "$2" 2>/dev/null; do sleep 1; n=$((n - 1)); done
}
wait_for "$2" "$1"
kill -TERM "$1" 2>/dev/null
wait_for 10 "$1"
kill -KILL "$1" 2>/dev/null
`;

export interface Guard {
  /** The guarded process has ended: nothing is left to be guarded. */
  release(): void;
}

/**
 * Makes process `pid` end with this one, even if this one is killed with -9. The guard is a shell in a
 * session of its own, so that a Ctrl-C in the terminal does not reach it. It works for programs in any
 * language.
 *
 * @param graceSeconds how long the guarded process may continue after this one has gone.
 */
export function guardProcess(pid: number, graceSeconds: number): Guard {
  const guard = spawn(
    '/bin/sh',
    ['-c', SCRIPT, 'sockscope-guard', String(pid), String(graceSeconds)],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    },
  );
  guard.on('error', () => undefined);
  guard.stdin.on('error', () => undefined);
  guard.unref();
  // Typed as a stream; it is a socket, and must not keep this process alive.
  if (guard.stdin instanceof Socket) guard.stdin.unref();
  return {
    release() {
      guard.kill('SIGKILL');
    },
  };
}
