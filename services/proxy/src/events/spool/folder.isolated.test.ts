import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { fold, sessionEvent } from '@sockscope/schemas';
import type { SessionEvent } from '@sockscope/schemas';
import { seededRandom, sessionLog } from '@sockscope/schemas/testing';
import { FrameWriter } from '../frames.js';
import { createOutbox } from '../outbox.js';
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

/** How many files this process has open; 0 where the system does not tell. */
function openFiles(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
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
      roomBytes: 0,
      adopt(payloads: readonly Buffer[]): void {
        taken.push(...payloads.map((payload) => Buffer.from(payload)));
      },
      syncAdopted: () => undefined,
    };
    // Not while there is no room, and not lost then.
    expect(adoptDeadFolders(own, adopter)).toMatchObject({ emptied: [], bytes: 0 });
    adopter.roomBytes = 1_000_000;
    expect(adoptDeadFolders(own, adopter)).toMatchObject({ emptied: ['worker-7'], leftBytes: 0 });
    const states = fold(parse(taken));
    expect(states.size).toBe(9);
    expect([...states.values()].filter(({ row }) => row?.status === 'active')).toEqual([]);
    expect(readdirSync(own.spool_dir).toSorted()).toEqual([
      'a-file',
      'not-a-proxy',
      'worker-1',
      'worker-2',
    ]);
    expect(adoptDeadFolders(own, adopter)).toEqual({ emptied: [], bytes: 0, leftBytes: 0 });
    mine.close();
    living.close();
  });

  it('of a dead proxy is taken over piece by piece where it is larger than the room for it', async () => {
    const ended = logs(600, true, 5);
    const open = logs(40, false, 6);
    await dieWith('large', [...ended, ...open].flat());
    const own = { ...configFor('small'), spool_max_bytes: 400_000 };
    const mine = await openSpoolFolder(own);
    const outbox = createOutbox(
      {
        queue_max_bytes: 1_000_000,
        spool_max_bytes: own.spool_max_bytes,
        batch_max_records: 100,
        batch_max_bytes: 100_000,
      },
      { ...mine, onTrouble: () => undefined },
    );
    const published: SessionEvent[] = [];
    const left: number[] = [];
    for (let turn = 0; existsSync(join(own.spool_dir, 'large')) && turn < 100; turn += 1) {
      left.push(adoptDeadFolders(own, outbox).leftBytes);
      // The living are not shut out by the dead.
      expect(outbox.isFull).toBe(false);
      for (let batch = outbox.next(); batch !== null; batch = outbox.next()) {
        published.push(...parse(batch.payloads));
        outbox.acknowledge(batch);
      }
    }
    expect(left.length).toBeGreaterThan(3);
    expect(left).toEqual([...new Set(left)].toSorted((a, b) => b - a));
    expect(left.at(-1)).toBe(0);
    // Once each, for what was taken over is acknowledged in the dead proxy's log; only the start of
    // a session that it left open is said again, with its end.
    const names = published.map((event) => `${event.session_id}/${event.seq}`);
    expect(names.length - new Set(names).size).toBe(open.length);
    const states = fold(published);
    expect(states.size).toBe(640);
    expect([...states.values()].filter(({ row }) => row?.status === 'active')).toEqual([]);
    mine.close();
  });

  it('of a dead proxy does not grow, and no file stays open, however often there is no room', async () => {
    await dieWith('worker-7', [...logs(50, true, 7), ...logs(50, false, 8)].flat());
    const own = configFor('worker-1');
    const mine = await openSpoolFolder(own);
    const none = { roomBytes: 0, adopt: () => undefined, syncAdopted: () => undefined };
    const { leftBytes } = adoptDeadFolders(own, none);
    expect(leftBytes).toBeGreaterThan(50_000);
    const files = openFiles();
    for (let attempt = 0; attempt < 5; attempt += 1) {
      expect(adoptDeadFolders(own, none)).toEqual({ emptied: [], bytes: 0, leftBytes });
    }
    const some = { ...none, roomBytes: 1_000_000 };
    expect(adoptDeadFolders(own, some).emptied).toEqual(['worker-7']);
    expect(openFiles()).toBe(files);
    mine.close();
  });

  it('of a dead proxy is deleted under another name, and so is what a deletion left that was cut short', async () => {
    await dieWith('worker-7', logs(5, true, 9).flat());
    const own = configFor('worker-1');
    const mine = await openSpoolFolder(own);
    const emptied = join(own.spool_dir, '.emptied-worker-7');
    const adopter = { roomBytes: 1_000_000, adopt: () => undefined, syncAdopted: () => undefined };
    // One who died over deleting it left this.
    mkdirSync(join(emptied, 'events'), { recursive: true });
    expect(adoptDeadFolders(own, adopter).emptied).toEqual(['worker-7']);
    expect(readdirSync(own.spool_dir)).toEqual(['worker-1']);
    // And its owner's name is free for a new one meanwhile.
    const back = await openSpoolFolder(configFor('worker-7'));
    mkdirSync(join(emptied, 'events'), { recursive: true });
    expect(adoptDeadFolders(own, adopter).emptied).toEqual([]);
    expect(readdirSync(own.spool_dir).toSorted()).toEqual(['worker-1', 'worker-7']);
    back.close();
    mine.close();
  });
});
