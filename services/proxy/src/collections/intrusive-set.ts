/** Lies in at most one set. */
export interface SetMember {
  /** Its place in the set; meaningless outside of one. */
  setIndex: number;
}

/**
 * The open elements, in no order. A Set takes three times the memory. With thousands of changes a
 * second it also gets a new table every few dozen of them, and each old table keeps its elements and
 * links to the next. Once one table is in V8's old generation, all later tables survive young
 * collections, with everything that they refer to.
 */
export class IntrusiveSet<T extends SetMember> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(member: T): void {
    member.setIndex = this.#members.push(member) - 1;
  }

  /** Deletes a member; the last one takes its place. Does nothing if it is not a member. */
  delete(member: T): void {
    const members = this.#members;
    const at = member.setIndex;
    if (members[at] !== member) return;
    const last = members.pop();
    if (last === undefined || last === member) return;
    members[at] = last;
    last.setIndex = at;
  }

  /**
   * Visits the last entry first. Entries may come and go meanwhile, and every entry that stays is
   * visited. An entry that moves was visited already, and may be visited again.
   */
  *[Symbol.iterator](): Generator<T, undefined, undefined> {
    const members = this.#members;
    for (let i = members.length - 1; i >= 0; i -= 1) {
      const member = members[Math.min(i, members.length - 1)];
      if (member !== undefined) yield member;
    }
  }
}
