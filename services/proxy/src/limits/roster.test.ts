import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Roster } from './roster.js';

class Member {
  rosterIndex = 0;
}

describe('a roster', () => {
  it('holds what was added and not deleted, whatever comes and goes', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(9)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (all) => {
        const members = Array.from({ length: 10 }, () => new Member());
        const roster = new Roster<Member>();
        const expected = new Set<Member>();
        for (const [isAdded, i] of all) {
          const member = members[i] as Member;
          if (!isAdded) {
            roster.delete(member);
            expected.delete(member);
          } else if (!expected.has(member)) {
            roster.add(member);
            expected.add(member);
          }
          expect(roster.size).toBe(expected.size);
          expect(new Set(roster)).toEqual(expected);
        }
      }),
    );
  });

  it('leaves out none that stays while others go and come in the middle of a walk', () => {
    const each = fc.array(fc.array(fc.nat(9), { maxLength: 3 }), { minLength: 10, maxLength: 10 });
    fc.assert(
      fc.property(each, (goings) => {
        const members = Array.from({ length: 10 }, () => new Member());
        const roster = new Roster<Member>();
        for (const member of members) roster.add(member);
        const gone = new Set<Member>();
        const met = new Set<Member>();
        let step = 0;
        for (const member of roster) {
          met.add(member);
          for (const i of goings[step] ?? []) {
            const other = members[i] as Member;
            roster.delete(other);
            gone.add(other);
          }
          roster.add(new Member());
          step += 1;
          if (step === 10) break;
        }
        for (const member of members) expect(met.has(member) || gone.has(member)).toBe(true);
      }),
    );
  });
});
