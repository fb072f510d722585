import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SourceTree } from './source-tree.js';

const path = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('x', 'y'));
type Path = [string, string];

interface Member {
  readonly id: number;
  readonly path: Path;
}

/** The member that a plain list finds: the largest network, its largest source, the oldest there. */
function largestOf(members: readonly Member[]): (readonly Member[])[] {
  const most = (of: readonly Member[], key: (m: Member) => string): Member[][] => {
    const groups = new Map<string, Member[]>();
    for (const member of of) {
      const list = groups.get(key(member)) ?? [];
      list.push(member);
      groups.set(key(member), list);
    }
    const lists = [...groups.values()];
    const size = Math.max(...lists.map((list) => list.length));
    return lists.filter((list) => list.length === size);
  };
  return most(members, (m) => m.path[0]).flatMap((network) => most(network, (m) => m.path[1]));
}

describe('a source tree', () => {
  it('names the oldest member of the largest source while members come and go', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), path, fc.nat(20)), { maxLength: 80 });
    fc.assert(
      fc.property(steps, (all) => {
        const tree = new SourceTree<Member>();
        const members: Member[] = [];
        for (const [isAdded, at, n] of all) {
          if (isAdded || members.length === 0) {
            const member = { id: members.length, path: at };
            members.push(member);
            tree.add(at, member);
          } else {
            const [member] = members.splice(n % members.length, 1);
            if (member !== undefined) expect(tree.delete(member.path, member)).toBe(true);
          }
          expect(tree.size).toBe(members.length);
          const displaced = tree.oldestToDisplace(at);
          if (displaced !== null) {
            const i = displaced.path[0] === at[0] ? 2 : 1;
            expect(tree.sizeOf(displaced.path.slice(0, i))).toBeGreaterThan(
              tree.sizeOf(at.slice(0, i)),
            );
          }
          for (const key of ['a', 'b', 'c']) {
            expect(tree.sizeOf([key])).toBe(members.filter((m) => m.path[0] === key).length);
          }
          const found = tree.oldestOfLargest();
          if (members.length === 0) expect(found).toBeNull();
          else expect(largestOf(members).map(([oldest]) => oldest)).toContain(found);
        }
      }),
    );
  });

  it('serves networks in turn, and sources in turn within a network', () => {
    const tree = new SourceTree<string>();
    for (const n of [1, 2, 3, 4]) tree.add(['flood', 'x'], `flood x ${n}`);
    for (const n of [1, 2]) tree.add(['flood', 'y'], `flood y ${n}`);
    tree.add(['quiet', 'x'], 'quiet 1');
    const places: readonly Path[] = [
      ['flood', 'x'],
      ['flood', 'y'],
      ['quiet', 'x'],
    ];
    const served: string[] = [];
    for (let member = tree.next(); member !== null; member = tree.next()) {
      served.push(member);
      const taken = member;
      expect(places.some((place) => tree.delete(place, taken))).toBe(true);
    }
    expect(served).toEqual([
      'flood x 1',
      'quiet 1',
      'flood y 1',
      'flood x 2',
      'flood y 2',
      'flood x 3',
      'flood x 4',
    ]);
  });
});
