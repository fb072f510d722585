import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { fold, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { FrameWriter } from '../frames.js';
import { adoptDeadFolders, openSpoolFolder } from './folder.js';
import type { FolderConfig } from './folder.js';
import { IntakeWriter } from './intake.js';
import { releaseFolder } from './lock.js';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function configFor(proxyId: string): FolderConfig {
  const dir = dirs[0] ?? mkdtempSync(join(tmpdir(), 'sockscope-folder-'));
  if (dirs.length === 0) dirs.push(dir);
  return { spool_dir: dir, spool_max_bytes: 10_000_000, proxy_id: proxyId };
}

/** A proxy that dies with these events in its intake. */
async function dieWith(proxyId: string, events: readonly SessionEvent[]): Promise<void> {
  const config = configFor(proxyId);
  const folder = await openSpoolFolder(config);
  const intake = new IntakeWriter(folder.intakeDir);
  const writer = new FrameWriter((chunk) => {
    intake.write(chunk);
  });
  for (const event of events) writer.event(event);
  writer.flush();
  intake.close();
  releaseFolder(join(config.spool_dir, proxyId));
}

function logs(count: number, closed: boolean, seed: number): SessionEvent[][] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, i) =>
    sessionLog({ random, startMs: 1_780_000_000_000 + i, closed }),
  );
}

function parse(payloads: readonly Buffer[]): SessionEvent[] {
  return payloads.map((payload) => sessionEvent.parse(JSON.parse(String(payload))));
}

describe('the folder of a proxy', () => {
  it('is readable by its owner alone', async () => {
    const config = configFor('p');
    const folder = await openSpoolFolder(config);
    expect(statSync(join(config.spool_dir, 'p')).mode & 0o077).toBe(0);
    folder.close();
  });

  it('gives the events of a dead process, and an end to its open sessions', async () => {
    const ended = logs(5, true, 1);
    const open = logs(5, false, 2);
    await dieWith('p', [...ended, ...open].flat());
    const folder = await openSpoolFolder(configFor('p'));
    expect(folder.crashedSessions).toBe(5);
    const found = parse(
      folder.log.read(folder.log.start, { maxRecords: 1_000, maxBytes: 1_000_000 }).payloads,
    );
    const states = fold(found);
    for (const log of ended) {
      expect(states.get(log[0]?.session_id ?? '')).toEqual([...fold(log).values()][0]);
    }
    for (const log of open) {
      const state = states.get(log[0]?.session_id ?? '');
      const last = log.at(-1);
      expect(state?.row).toMatchObject({
        close_reason: 'proxy_crashed',
        bytes_sent: last?.bytes_sent,
        seq: (last?.seq ?? 0) + 1,
      });
      expect(state?.minutes).toEqual([...fold(log).values()][0]?.minutes);
    }
    folder.close();
  });

  it('of a dead proxy is taken over by another one, and that of a living proxy is not', async () => {
    const ended = logs(5, true, 3);
    const open = logs(4, false, 4);
    await dieWith('worker-7', [...ended, ...open].flat());
    const living = await openSpoolFolder(configFor('worker-2'));
    const own = configFor('worker-1');
    const mine = await openSpoolFolder(own);
    mkdirSync(join(own.spool_dir, 'not-a-proxy'));
    writeFileSync(join(own.spool_dir, 'a-file'), '');
    const taken: Buffer[] = [];
    const adopter = {
      roomBytes: 100,
      adopt(payloads: readonly Buffer[]): void {
        taken.push(...payloads.map((payload) => Buffer.from(payload)));
      },
    };
    // Not while there is no room, and not lost then.
    expect(adoptDeadFolders(own, adopter)).toEqual([]);
    adopter.roomBytes = 1_000_000;
    expect(adoptDeadFolders(own, adopter)).toEqual(['worker-7']);
    const states = fold(parse(taken));
    expect(states.size).toBe(9);
    expect([...states.values()].filter(({ row }) => row?.status === 'active')).toEqual([]);
    expect(readdirSync(own.spool_dir).toSorted()).toEqual([
      'a-file',
      'not-a-proxy',
      'worker-1',
      'worker-2',
    ]);
    expect(adoptDeadFolders(own, adopter)).toEqual([]);
    mine.close();
    living.close();
  });
});
