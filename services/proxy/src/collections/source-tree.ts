/** Members of one network, and of the networks in it. */
class Group<T> {
  size = 0;
  /** Members of the innermost network, in the order of their arrival. */
  members: Set<T> | null = null;
  /** Groups in the order of their turns. */
  groups: Map<string, Group<T>> | null = null;
  /** The groups by their size, so that the largest is found at once. */
  #bySize: (Set<Group<T>> | undefined)[] = [];

  add(path: readonly string[], depth: number, member: T): void {
    this.size += 1;
    const key = path[depth];
    if (key === undefined) {
      this.members ??= new Set();
      this.members.add(member);
      return;
    }
    this.groups ??= new Map();
    let group = this.groups.get(key);
    if (group === undefined) {
      group = new Group();
      this.groups.set(key, group);
    }
    group.add(path, depth + 1, member);
    this.#resized(group, group.size - 1);
  }

  /** Whether the member was here. */
  delete(path: readonly string[], depth: number, member: T): boolean {
    const key = path[depth];
    if (key === undefined) {
      if (this.members?.delete(member) !== true) return false;
      this.size -= 1;
      return true;
    }
    const group = this.groups?.get(key);
    if (group?.delete(path, depth + 1, member) !== true) return false;
    this.size -= 1;
    this.#resized(group, group.size + 1);
    if (group.size === 0) this.groups?.delete(key);
    return true;
  }

  #resized(group: Group<T>, before: number): void {
    const sizes = this.#bySize;
    sizes[before]?.delete(group);
    if (group.size > 0) {
      const same = (sizes[group.size] ??= new Set());
      same.add(group);
    }
    while (sizes.length > 1 && (sizes.at(-1)?.size ?? 0) === 0) sizes.pop();
  }

  get largest(): Group<T> | null {
    return first(this.#bySize.at(-1));
  }

  /** Notes that a group's turn is over. */
  rotate(): Group<T> | null {
    const groups = this.groups;
    const next = groups === null ? undefined : groups.entries().next();
    if (groups === null || next === undefined || next.done === true) return null;
    const [key, group] = next.value;
    groups.delete(key);
    groups.set(key, group);
    return group;
  }
}

function first<T>(set: Set<T> | undefined | null): T | null {
  const next = set?.values().next();
  return next === undefined || next.done === true ? null : next.value;
}

/**
 * The places that sources hold or wait for, by their networks, from the widest to the source
 * itself (`networksOf`). Serves networks in turn at each level, and finds the largest holder, so that
 * neither one address nor one large network can crowd out the others. Every step takes the same
 * time, however many there are.
 */
export class SourceTree<T> {
  readonly #root = new Group<T>();

  get size(): number {
    return this.#root.size;
  }

  /** How many of the network at the end of `path` are here. */
  sizeOf(path: readonly string[]): number {
    let group: Group<T> | undefined = this.#root;
    for (const key of path) group = group?.groups?.get(key);
    return group?.size ?? 0;
  }

  add(path: readonly string[], member: T): void {
    this.#root.add(path, 0, member);
  }

  /** Whether the member was here. */
  delete(path: readonly string[], member: T): boolean {
    return this.#root.delete(path, 0, member);
  }

  /** The oldest member of the source whose turn it is, which then waits for its next turn. It stays here. */
  next(): T | null {
    let group: Group<T> | null = this.#root;
    while (group !== null && group.members === null) group = group.rotate();
    return first(group?.members);
  }

  /** The oldest member of the source that holds most, in the network that holds most. */
  oldestOfLargest(): T | null {
    return oldestIn(this.#root);
  }

  /**
   * Returns the oldest member of the largest source, to make room for one more at `path`; null if
   * `path` itself is the largest.
   */
  oldestToDisplace(path: readonly string[]): T | null {
    let group: Group<T> = this.#root;
    for (const key of path) {
      const own = group.groups?.get(key);
      const { largest } = group;
      if (largest !== null && largest.size > (own?.size ?? 0)) return oldestIn(largest);
      if (own === undefined) return null;
      group = own;
    }
    return null;
  }
}

function oldestIn<T>(start: Group<T>): T | null {
  let group: Group<T> | null = start;
  while (group !== null && group.members === null) group = group.largest;
  return first(group?.members);
}
