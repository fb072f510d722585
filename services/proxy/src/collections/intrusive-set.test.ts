import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntrusiveSet } from './intrusive-set.js';

class Member {
  setIndex = 0;
}

describe('a set', () => {
  it('holds the elements that were added and not deleted, in any order', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(9)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (all) => {
        const members = Array.from({ length: 10 }, () => new Member());
        const set = new IntrusiveSet<Member>();
        const expected = new Set<Member>();
        for (const [isAdded, i] of all) {
          const member = members[i] as Member;
          if (!isAdded) {
            set.delete(member);
            expected.delete(member);
          } else if (!expected.has(member)) {
            set.add(member);
            expected.add(member);
          }
          expect(set.size).toBe(expected.size);
          expect(new Set(set)).toEqual(expected);
        }
      }),
    );
  });

  it('visits every entry that stays while others come and go during a walk', () => {
    const each = fc.array(fc.array(fc.nat(9), { maxLength: 3 }), { minLength: 10, maxLength: 10 });
    fc.assert(
      fc.property(each, (goings) => {
        const members = Array.from({ length: 10 }, () => new Member());
        const set = new IntrusiveSet<Member>();
        for (const member of members) set.add(member);
        const gone = new Set<Member>();
        const met = new Set<Member>();
        let step = 0;
        for (const member of set) {
          met.add(member);
          for (const i of goings[step] ?? []) {
            const other = members[i] as Member;
            set.delete(other);
            gone.add(other);
          }
          set.add(new Member());
          step += 1;
          if (step === 10) break;
        }
        for (const member of members) expect(met.has(member) || gone.has(member)).toBe(true);
      }),
    );
  });
});
